"""Every form of the property company's pages, for the tests of what forged ones do."""

PROPERTY_POSTS = [
    "/property/sign-in", "/property/sign-out", "/property/staff", "/property/staff/1/role",
    "/property/staff/1/password", "/property/staff/1/remove", "/property/usage/verify",
]  # fmt: skip
