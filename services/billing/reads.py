"""What billing reads of others' events, besides their keys: its half of each contract, and no field more."""

from shared.schemas.customer import CustomerProfile
from shared.schemas.readers import Reads
from shared.schemas.sales import BookingConfirmed, PurchaseRecorded

READS: Reads = {
    CustomerProfile: (
        "version name country address.city address.country address.lines address.postal_code address.region tax_id"
    ),
    BookingConfirmed: (
        "booking_id currency country lines[].description lines[].discount lines[].quantity lines[].sku "
        "lines[].tax_class lines[].unit_price prices_include_tax payment_token"
    ),
    PurchaseRecorded: (
        "purchase_id currency country lines[].description lines[].discount lines[].quantity lines[].sku "
        "lines[].tax_class lines[].unit_price prices_include_tax payment_token"
    ),
}
