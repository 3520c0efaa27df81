package console

import (
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// Overview is what is going on now.
type Overview struct {
	Ready    bool      `json:"ready"`
	NotReady string    `json:"not_ready,omitempty"` // what the server waits for
	Ringing  int       `json:"ringing"`             // calls that ring now; at most 500 are counted
	Minutes  []Minute  `json:"minutes"`             // calls of the last hour, oldest first
	Partial  bool      `json:"partial,omitempty"`   // there were so many calls that the first minute is not whole
	Node     NodeView  `json:"node"`
	At       time.Time `json:"at"`
}

// Minute counts the calls of one minute that are in one state.
type Minute struct {
	At      time.Time      `json:"at"` // its beginning
	State   bell.CallState `json:"state"`
	Outcome planet.Outcome `json:"outcome,omitempty"`
	Calls   int            `json:"calls"`
}

// NodeView is what the process that answers has measured over the last minutes.
type NodeView struct {
	Name        string           `json:"name,omitempty"` // where several share a database
	Since       time.Time        `json:"since"`          // when what it measures begins
	Answer      Latency          `json:"answer"`         // Notify, from request to answer
	Channels    []ChannelLatency `json:"channels"`
	Routes      []RouteHealth    `json:"routes"`
	Expiring    []ExpiringView   `json:"expiring"`
	DeadLetters int              `json:"dead_letters"`
	Backlog     int              `json:"backlog"` // what waits in memory for the database
}

// Latency is how long something took. P95 is a lower bound when Over is set.
type Latency struct {
	Count uint64  `json:"count"`
	P50MS float64 `json:"p50_ms"`
	P95MS float64 `json:"p95_ms"`
	Over  bool    `json:"over,omitempty"`
}

// ChannelLatency is how long calls took to reach devices by a channel.
type ChannelLatency struct {
	Channel bell.Channel `json:"channel"`
	Accept  Latency      `json:"accept"`  // from Notify to the provider's acceptance
	Receipt Latency      `json:"receipt"` // from Notify to the device's own word
}

// RouteHealth is how one way to a provider does.
type RouteHealth struct {
	Credential  string       `json:"credential"`
	Channel     bell.Channel `json:"channel"`
	Server      string       `json:"server,omitempty"`
	CircuitOpen bool         `json:"circuit_open"` // retries are stopped because half of its attempts fail
	Attempts    int          `json:"attempts"`
	Failed      int          `json:"failed"`
	LastFailure *LastFailure `json:"last_failure,omitempty"`
}

// LastFailure is the newest one of a route.
type LastFailure struct {
	At      time.Time    `json:"at"`
	Verdict bell.Verdict `json:"verdict"`
	Reason  string       `json:"reason,omitempty"`
}

// ExpiringView is a push certificate.
type ExpiringView struct {
	Credential string    `json:"credential"`
	Server     string    `json:"server,omitempty"`
	ExpiresAt  time.Time `json:"expires_at"`
}

// UserReadiness says whether a user would ring now.
type UserReadiness struct {
	Environment  planet.Environment `json:"environment"`
	ServiceID    string             `json:"service_id"`
	UserID       string             `json:"user_id"`
	Rings        bool               `json:"rings"`
	DoNotDisturb bool               `json:"do_not_disturb,omitempty"` // then nothing rings, whatever the devices say
	Devices      []ReadinessView    `json:"devices"`                  // oldest first
}

// ReadinessView is a device with what a call now would make of it.
type ReadinessView struct {
	Device    Device         `json:"device"`
	Rings     bool           `json:"rings"`
	Readiness call.Readiness `json:"readiness"`
	Reason    string         `json:"reason,omitempty"`
}

// FailingList is what fails now.
type FailingList struct {
	Since  time.Time      `json:"since"`
	Groups []FailingGroup `json:"groups"` // the largest first
}

// FailingGroup are deliveries that failed for one reason on one way.
type FailingGroup struct {
	Project     string             `json:"project"`
	Channel     bell.Channel       `json:"channel"`
	APNsServer  bell.APNsServer    `json:"apns_server,omitempty"`
	State       bell.DeliveryState `json:"state"`
	Reason      string             `json:"reason,omitempty"`
	Count       int                `json:"count"`
	Calls       int                `json:"calls"`
	LastAt      time.Time          `json:"last_at"`
	Environment planet.Environment `json:"environment"` // of an example, the newest
	SID         planet.SessionID   `json:"sid"`
	DeviceID    string             `json:"device_id"`
}

// DeviceTest asks for a test of a device.
type DeviceTest struct {
	Call bool `json:"call"` // the phone shows a call, which ends by itself
}

// DeviceTestResult is what the provider answered.
type DeviceTestResult struct {
	DeviceID   string       `json:"device_id"`
	Channel    bell.Channel `json:"channel"` // by which the test went
	Credential string       `json:"credential"`
	Server     string       `json:"server,omitempty"`
	Attempt    Attempt      `json:"attempt"`
	// OwnAttempt is the refusal of the device's own APNs server, if Attempt is of the other.
	OwnAttempt *Attempt `json:"own_attempt,omitempty"`
}
