package clients

import (
	"errors"
	"net/http"
	"time"
)

// What an app understood from an answer. Every error of this package wraps at most one
// of these; an error that wraps none is an answer that the app cannot decode.
var (
	// ErrTaken says that the app tells its user that the user ID is taken.
	ErrTaken = errors.New("the app says that the user ID is taken")
	// ErrExpired says that the app tells its user that the registration has expired.
	ErrExpired = errors.New("the app says that the registration has expired")
	// ErrWiped says that the app forgets its registered user. The Windows app does so
	// at any failure of access_token/issue.
	ErrWiped = errors.New("the app wipes its registered user")
	// ErrRefused says that the server answered with an error that the app recognises.
	ErrRefused = errors.New("the server refused")
	// ErrNotUsed says that this app never sends the request.
	ErrNotUsed = errors.New("this app never sends that request")
)

// Answer is an HTTP answer as it came.
type Answer struct {
	Status int
	Header http.Header // may be nil; no app reads one
	Body   []byte
}

// ok reports whether the status is 2xx.
func (a Answer) ok() bool { return a.Status >= 200 && a.Status < 300 }

// Registration is what an app keeps of a successful register_user.
type Registration struct {
	AppToken string    // sent as "Authorization: Bearer"
	Expires  time.Time // the app stops by itself then
}

// Gateway is what an app takes from access_token/issue.
type Gateway struct {
	Token     string // goes to PlanetKit's makeCall or joinConference
	UserID    string // Apple only; may be empty
	ServiceID string // Apple only; may be empty
}

// Call is what an app takes from a push or a poll. Fields that the app does not read
// are empty.
type Call struct {
	CCParam         string
	CallType        string
	CallerUserID    string
	CallerServiceID string
	CalleeUserID    string
	CalleeServiceID string
	Environment     string
	AppServerData   string
	STID            string
}

// Next is what a polling app does after an answer.
type Next string

// The values of [Next].
const (
	// PollNow: polls again at once.
	PollNow Next = "poll now"
	// PollLater: waits [Pause], then polls again.
	PollLater Next = "poll after a pause"
	// Spin: polls again at once after an answer that it could not use. A server that
	// keeps answering so is flooded; it is always the server's mistake.
	Spin Next = "spin"
	// Stop: polls no more until the user or the state of the account changes.
	Stop Next = "stop"
	// StopForCall: polls no more until the delivered call is over.
	StopForCall Next = "stop until the call is over"
)

// Pause is how long the apps wait before they poll again, where they wait.
const Pause = 5 * time.Second

// Poll is what an app makes of an answer of notification/lp.
type Poll struct {
	Call *Call // nil without a call
	Next Next
	Err  error // why there is no call; nil for an ordinary empty poll (503)
}

// Decoder decodes the answers of one official app.
type Decoder interface {
	// Name returns "apple", "android", "windows" or "web".
	Name() string
	// Register decodes register_user.
	Register(Answer) (Registration, error)
	// RegisterDevice decodes register_device.
	RegisterDevice(Answer) error
	// UpdateToken decodes update_notification_token.
	UpdateToken(Answer) error
	// Issue decodes access_token/issue.
	Issue(Answer) (Gateway, error)
	// Poll decodes notification/lp.
	Poll(Answer) Poll
	// PollFailed says what the app does when a poll ended without an answer.
	PollFailed() Next
}

// All returns the decoders of all four apps.
func All() []Decoder { return []Decoder{Apple{}, Android{}, Windows{}, Web{}} }
