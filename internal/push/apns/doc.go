// Package apns rings iOS devices through Apple Push Notification service: VoIP
// pushes, which ring through PushKit and CallKit, and visible alerts for devices
// without them.
//
// A [Client] is one credential at one APNs server, because APNs binds a connection
// to the team of its first push, and a token of the sandbox is nothing in
// production. [Client.Sender] gives the sender for one app and one channel; it sends
// once, says by one table (classify.go) what came of it, and leaves retries to
// package delivery.
//
// What Apple asks of the transport decides its form:
//
//   - connections stay open for days, and rapid connecting looks like an attack:
//     there is a fixed number of them (pool.go), dialled ahead, redialled one at a
//     time and ever more slowly while that fails;
//   - a new connection takes one stream until the first valid provider token was
//     seen: each begins with one request and opens up with its answer;
//   - the number of streams is the server's to set: a request holds a reserved stream
//     (http.ClientConn) before it is sent, so none is refused for it;
//   - a provider token lives 20 to 60 minutes (token.go); all goroutines, and by
//     derivation all nodes, send the same one.
//
// Sources: https://developer.apple.com/documentation/usernotifications and the
// measurements behind them, in the project's push-providers notes.
package apns
