package bell

import "time"

// AgentStatus is what Planet Cloud said about the set-up of a call that was asked for through
// the Server API ("Audio Caller"). It may come before the call's Notify, and for a call that
// could not be set up nothing else ever comes (docs/line-planet.md 3.4 and 11 no. 25).
type AgentStatus struct {
	ReceivedAt      time.Time // zero: there is none
	Project         string    // whose callback URL was called
	AgentType       string    // AUDIO_CALLER
	MediaSourceType string    // STORED_SOURCE
	Success         bool      // the call could be set up to where it waits for the answer
	FailReason      string    // LINE Planet's words; empty on success
}
