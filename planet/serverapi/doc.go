// Package serverapi is a client of LINE Planet's Server API: what an app server asks
// Planet Cloud to do. It removes participants from a group call, sends them a message, and
// places a 1-to-1 call that plays stored audio ("Audio Caller").
//
// Begin with [New]; the three requests are [Client.KickOut], [Client.Broadcast] and
// [Client.MakeAgentCall]. What went wrong is an [*Error], to be asked with errors.Is for a
// kind such as [ErrRoomNotFound].
//
// The client keeps the rules so that its user need not know them:
//
//   - It checks a request before it is sent: identifiers, numbers and sizes.
//   - It sends at most 80 requests a second, below the limit of 100 (docs/line-planet.md 7.1
//     and 11 no. 26). A request that has to wait for its turn waits no longer than its
//     context.
//   - It gives each try ten seconds and makes at most three more, on 429, on 503 and when
//     the connection fails, with growing pauses, or after the time of Retry-After.
//   - It never repeats a message or a call that may have been carried out: one whose answer
//     got lost is reported as such, in [Error.MaybeExecuted].
//   - It follows no redirect, reads a bounded part of an answer, and prints no secret.
//
// Left out is what LINE Planet does not document in public: messages to chosen participants,
// meeting IDs for SIP terminals, information about rooms. The state of a room comes with its
// Group Call Events, which package planet reads.
//
// Sources: https://docs.lineplanet.me/server-api/server-api-specification and the pages
// named at the methods.
package serverapi
