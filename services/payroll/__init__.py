"""Payroll: salaries calculated from what HR says, approved by two, paid once, and reported.

Consumes
    hr.events           EmployeeHired, EmployeeChanged, SalaryChanged, AbsenceRecorded, OvertimeRecorded,
                        AdvanceGranted, EmployeeTerminated
    payroll.commands    StartPayrollRun, ApprovePayrollRun, RetryPayslip

Publishes
    payroll.events      PayrollRunStarted, PayrollRunCalculated, PayrollRunApproved, PayrollRunCompleted,
                        PayslipCalculated, SalaryPaid, SalaryPaymentFailed, SalaryPaymentUnknown,
                        PayrollReportGenerated, CommandAccepted, CommandRejected

Owns
    copies of what HR says, dated; tax brackets and contributions; runs, payslips, the wage ledger, reports
"""
