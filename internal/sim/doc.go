// Package sim pretends to be everything around planetbell, on loopback: Planet
// Cloud, Apple's and Google's push services, and the phones of LINE's official demo
// apps. It rejects what the real ones reject, so it is a judge and not a helper: it
// speaks every wire format itself and shares no code with our senders and handlers.
//
// Parts, each usable alone:
//
//   - [NewCA] makes a certificate authority for tests and servers on 127.0.0.1.
//   - [NewAPNs] is one of Apple's two push servers: HTTP/2 over TLS, the checks of
//     docs/push-providers.md 6.1 in their order, per-connection rules, scripted answers.
//   - [NewFCM] is Google's OAuth token endpoint and FCM HTTP v1 (docs/push-providers.md 6.2).
//   - [NewCloud] is Planet Cloud: it places calls, rings through the Notify callback,
//     checks that cc_param came through unchanged, and reports the end of the call.
//   - [NewPhone] is one client of one user: it registers with the request sequence of
//     the official app, and decodes answers with that app's strictness (package
//     internal/sim/clients).
//   - [NewWorld] starts all of it together, writes what a planetbell configuration
//     needs into a folder, and has a control port for curl.
//
// The flow of a call:
//
//	Cloud.Place ── GET notify ──▶ planetbell ── push ──▶ APNs / FCM / long poll ──▶ Phone
//	     ▲                                                                          │
//	     ├───────────── Verify(cc_param), then Answer or Decline ───────────────────┘
//	     └── GET call-event ──▶ planetbell
//
// Everything is safe for concurrent use. What is recorded is kept in rings of a fixed
// size with counters beside them, so that memory stays bounded. Time comes from a
// [Clock]; [ManualClock] is for tests.
//
// What it does not do: Go's HTTP/2 server cannot change SETTINGS_MAX_CONCURRENT_STREAMS
// on an open connection. APNs allows one stream until the first provider token was
// accepted; the fake advertises the full number and holds the surplus requests of a
// connection in the handler until then ([APNsStats].Held counts them). Faults inside
// HTTP/2 frames (RST_STREAM codes, GOAWAY with debug data, black holes) are not
// scriptable yet; [Answer] is the place where they will be asked for.
//
// Only package main and tests may import sim.
package sim
