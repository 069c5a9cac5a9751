-- OvertimeRecorded v2 says the rate of overtime in basis points: 137.5 % is no whole number of per cents.

ALTER TABLE overtime RENAME COLUMN rate_percent TO rate_basis_points;
ALTER TABLE overtime RENAME CONSTRAINT overtime_rate_percent_check TO overtime_rate_basis_points_check;
ALTER TABLE overtime RENAME CONSTRAINT overtime_rate_percent_not_null TO overtime_rate_basis_points_not_null;
UPDATE overtime SET rate_basis_points = rate_basis_points * 100;
