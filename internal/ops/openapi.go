package ops

import _ "embed"

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI describes the endpoints below APIPrefix.
func OpenAPI() []byte { return openAPI }
