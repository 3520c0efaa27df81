// Package planetbell holds the contract of the public HTTP API. The program is in
// cmd/planetbell, the protocol library in package planet.
package planetbell

import _ "embed" // the contract is part of the binary

// OpenAPI is openapi.yaml: every public route, with every answer it can give. The
// server sends it to whoever asks for /openapi.yaml, and the tests of the handlers
// hold their answers against it.
//
//go:embed openapi.yaml
var OpenAPI []byte

// AdminOpenAPI is admin-openapi.yaml: every route of the admin API. The server sends it to
// whoever may ask for /admin/v1/openapi.yaml, and tests hold the handlers to it.
//
//go:embed admin-openapi.yaml
var AdminOpenAPI []byte
