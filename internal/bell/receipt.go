package bell

import (
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Receipt is a device's word that it has a call.
type Receipt struct {
	Environment planet.Environment
	SessionID   planet.SessionID // the call
	DeviceID    string
	Channel     Channel   // how it came, as the device says; empty when it does not
	ReceivedAt  time.Time // by the device's clock; zero when it does not say
	At          time.Time // when the receipt came, by ours
	// FCM's priority on arrival, "high" or "normal", and the one it was sent with: Google
	// lowers it for apps whose messages are not followed by a notification.
	Priority         string
	OriginalPriority string
	// Problem is why the app could not use the call, in PlanetKit's or its own word, such as
	// DECODE_CALL_PARAM; empty when it could, or does not say. At most MaxProblem bytes.
	Problem string
}

// MaxProblem bounds a receipt's Problem, in bytes.
const MaxProblem = 40
