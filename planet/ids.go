package planet

// UserRef names a user: IDs are unique only within a service.
type UserRef struct {
	ServiceID string
	UserID    string
}

// String returns "service/user".
func (u UserRef) String() string { return u.ServiceID + "/" + u.UserID }

// SessionID is the identity of one call or of one run of a room, always in lower
// case: Planet Cloud writes it in either case. Make one with [ParseSessionID].
type SessionID string

// CallType says whether a call began as audio or video.
type CallType string

// The values of [CallType] as they travel on the wire.
const (
	AudioCall CallType = "A"
	VideoCall CallType = "V"
)

// Environment is one of LINE Planet's two worlds; keys, hosts and users of one
// mean nothing in the other.
type Environment string

// The environments, in the words that clients receive as "_env".
const (
	Evaluation Environment = "evaluation"
	Real       Environment = "real"
)
