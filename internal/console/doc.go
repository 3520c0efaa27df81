// Package console is the operator's door: the HTTP handler of the admin listener. It
// serves the JSON API that the planetbell command uses for daily work, health checks,
// metrics and profiles.
//
// It decides who may ask (one bearer token, and browsers only from here), bounds what
// is asked, and turns what the services know into JSON. It holds no rules about calls
// or devices, and never shows push tokens, cc_param or keys: what stands for a push
// token is its fingerprint. The one exception is POST /admin/v1/access_tokens, whose
// purpose is to hand out a token.
//
// Start with routes.go, which lists every route, and api.go, which holds the JSON types
// that the command line client shares. docs/admin-api.md is the contract. The type console
// is the door: who asks, whether they may, what the audit log says of it. The type api has
// the handlers that answer in JSON, the type site those that answer with pages (files page*.go
// and watch.go), and common what both ask of the services.
package console
