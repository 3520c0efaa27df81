package planet

import "time"

// Notification is what a callee's device must get for a 1-to-1 call: the keys that
// LINE's demo clients read ("cc_param", "app_*", "_env") and a few of our own.
// Source: https://docs.lineplanet.me/getting-started/essentials/appserver-role
type Notification struct {
	CCParam          CCParam
	Caller           UserRef
	Callee           UserRef
	Type             CallType
	EnvironmentLabel string // "_env"; never empty
	AppServerData    string
	STID             string
	SessionID        SessionID // "app_session_id"
	CallerName       string    // "app_caller_name"; may be empty
	SentAt           time.Time // "app_sent_at", Unix milliseconds as text
	ExpiresAt        time.Time // "app_expires_at", Unix milliseconds as text
}
