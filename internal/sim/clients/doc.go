// Package clients decodes an app server's answers exactly as strictly as LINE's four
// official demo apps do, and says what each app does next. It is the judge of the
// contract in docs/line-planet.md 6.6 and 6.7: a handler that satisfies [Apple], [Android],
// [Windows] and [Web] can be used by the unmodified apps.
//
// The decoders are pure functions of an [Answer]: no network, no time, no state. They
// are safe for concurrent use. Each app is a [Decoder]:
//
//	for _, d := range clients.All() {
//		reg, err := d.Register(clients.Answer{Status: rec.Code, Header: rec.Header(), Body: rec.Body.Bytes()})
//		...
//	}
//
// The decoders do not see what an app cannot see: the Windows app never reads the
// body of an error, so a wrong one passes.
package clients
