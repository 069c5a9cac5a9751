"""What payroll knows: staff, rules, payslips, runs, their books and reports, as arithmetic on frozen values."""
