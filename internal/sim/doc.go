// Package sim pretends to be everything around planetbell, on loopback: Planet
// Cloud with its Server API, Apple's and Google's push services, and the phones of LINE's official demo
// apps. It rejects what the real ones reject, so it is a judge and not a helper: it
// speaks every wire format itself and shares no code with our senders and handlers.
//
// Parts, each usable alone:
//
//   - [NewCA] makes a certificate authority for tests and servers on 127.0.0.1.
//   - [NewAPNs] is one of Apple's two push servers: HTTP/2 over TLS, the checks of
//     docs/push-providers.md 6.1 in their order, per-connection rules, scripted answers.
//   - [NewFCM] is FCM HTTP v1 and Google's OAuth token endpoint (docs/push-providers.md 6.2).
//   - [NewWebPush] is the push service of browsers (docs/push-providers.md 6.3): it makes
//     subscriptions, decrypts what they are sent, and answers in the words of five services.
//   - [NewCloud] is Planet Cloud: it places calls, rings through the Notify callback,
//     checks that cc_param came through unchanged, and reports the end of the call.
//   - [NewServerAPI] is LINE Planet's Server API: what an app server asks the cloud to do.
//   - [NewPhone] is one client of one user: it registers with the request sequence of
//     the official app, and decodes answers with that app's strictness (package
//     internal/sim/clients). A [Browser] is a page of one's own, with Web Push.
//   - [NewWorld] starts all of it together, writes what a planetbell configuration
//     needs into a folder, and has a control port for curl.
//
// The flow of a call:
//
//	Cloud.Place ── GET notify ──▶ planetbell ── push ──▶ APNs / FCM / Web Push / long poll ──▶ Phone
//	     ▲                                                                          │
//	     ├───────────── Verify(cc_param), then Answer or Decline ───────────────────┘
//	     └── GET call-event ──▶ planetbell
//
// Everything is safe for concurrent use. What is recorded is kept in rings of a fixed
// size with counters beside them, so that memory stays bounded. Time comes from a
// [Clock]; [ManualClock] is for tests.
//
// What goes wrong is scripted by a [Fault], added to the [Faults] of a service, any
// number at once, each for a count or a share of what it strikes, or for a time. There are
// two sorts of kinds; docs/cli.md has them in a table, and [FaultKinds] lists them.
//
//   - Of requests: slow, drip, hang, server-error, unavailable, too-many, unauthorized,
//     html, shutdown, goaway-refuse, goaway-answer, goaway-close, refused-stream,
//     stream-error, tcp-reset, close, revoked, short-token, redirect, answer.
//   - Of connections: silence, no-ping, streams, tls-stall, cert-expired,
//     cert-wrong-host, refuse.
//
// A script ([APNs.Script], [FCM.Script], [WebPush.Script]) is a function that answers in the
// place of the fake; it is asked when no fault strikes.
//
// How it is made: a fake shakes hands itself and gives net/http's HTTP/2 server a
// connection without TLS that looks at the frames in both directions. So SETTINGS are as
// APNs' are: one stream until the first accepted provider token, and then the full number;
// surplus streams are refused ([APNsStats].Surplus counts them).
//
// Only package main and tests may import sim.
package sim
