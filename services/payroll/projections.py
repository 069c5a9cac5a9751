"""What payroll copies from HR, and `kello replay payroll` makes again."""

from shared.messaging.projections import Copy, Projection
from shared.schemas.hr import (
    AbsenceRecorded,
    AdvanceGranted,
    EmployeeChanged,
    EmployeeHired,
    EmployeeTerminated,
    OvertimeRecorded,
    SalaryChanged,
)

projections = {
    "staff": Projection(
        (
            EmployeeHired,
            EmployeeChanged,
            SalaryChanged,
            EmployeeTerminated,
            AbsenceRecorded,
            OvertimeRecorded,
            AdvanceGranted,
        ),
        [
            Copy("employee", ours=("version",)),
            Copy("employment"),
            Copy("salary"),
            Copy("absence"),
            Copy("overtime", ours=("payslip_id",), settled_by="payslip_id"),
            Copy("advance", ours=("deducted",)),
        ],
    ),
}
