"""What schemathesis does not know of this API."""

import schemathesis

# The piece of an upload is sent as it is.
schemathesis.serializer.alias("application/partial-upload", "application/octet-stream")
