// Package fcm rings Android devices through Firebase Cloud Messaging, HTTP v1: a
// data-only message of high priority, which wakes the app, that lives no longer than
// the ring.
//
// A [Client] is one Firebase project. Its Send makes one attempt, says by one table
// (classify.go) what came of it, and leaves retries to package delivery. The access
// token that Google wants (oauth.go) is renewed in the background well before it
// expires, by one goroutine, so that no call waits for it.
//
// Sources: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages,
// https://firebase.google.com/docs/cloud-messaging/error-codes,
// https://developers.google.com/identity/protocols/oauth2/service-account.
package fcm
