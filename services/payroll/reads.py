"""What payroll reads of others' events, besides their keys: its half of each contract, and no field more."""

from shared.schemas.hr import (
    AbsenceRecorded,
    AdvanceGranted,
    EmployeeChanged,
    EmployeeHired,
    EmployeeTerminated,
    OvertimeRecorded,
    SalaryChanged,
)
from shared.schemas.readers import Reads

READS: Reads = {
    AbsenceRecorded: "version absence_id starts_on ends_on kind",
    AdvanceGranted: "version advance_id amount granted_on",
    EmployeeChanged: "version country department payment_token",
    EmployeeHired: "version country department currency monthly_salary hired_on payment_token",
    EmployeeTerminated: "version last_day",
    OvertimeRecorded: "version overtime_id worked_on minutes rate_basis_points",
    SalaryChanged: "version monthly_salary effective_from",
}
