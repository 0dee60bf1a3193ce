"""Every form of the property company's pages, for the tests of what forged ones do."""

PROPERTY_POSTS = [
    "/property/sign-in", "/property/sign-in/code", "/property/sign-out", "/property/staff", "/property/staff/1/role",
    "/property/staff/1/password", "/property/staff/1/remove", "/property/usage/verify",
    "/property/residents/1/reveal", "/property/residents/1/top-up", "/property/residents/1/undo/1",
    "/property/residents/1/block", "/property/residents/1/pin", "/property/residents/1/erase",
    "/property/tariffs/check", "/property/tariffs/schedule", "/property/tokens", "/property/tokens/revoke",
    "/property/second-factor", "/property/second-factor/begin", "/property/second-factor/off",
    "/property/staff/1/second-factor", "/property/residents/import", "/property/residents/import/begin",
]  # fmt: skip
