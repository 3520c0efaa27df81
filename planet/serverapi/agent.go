package serverapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/planetbell/planetbell/planet"
)

// The limits of an agent call.
const (
	// MaxMediaSourceType is in bytes.
	MaxMediaSourceType = 48
	// MaxAppServerData is in bytes of UTF-8.
	MaxAppServerData = 4095
	// maxContentID is in bytes. LINE Planet gives no length; a bound against pasting the
	// wrong text.
	maxContentID = 512
	// maxSources is how many sounds one call may name; likewise.
	maxSources = 100
)

// StoredSource is the media source type of audio that was uploaded in the LINE Planet Console,
// the only one that is documented.
const StoredSource = "STORED_SOURCE"

// AgentCall asks for a 1-to-1 call that plays stored audio. Caller, Callee and ContentIDs are
// needed.
type AgentCall struct {
	// Caller is who the callee's phone says is calling. A user without a service ID is one of
	// the client's service.
	Caller planet.UserRef
	// Callee is who is called; likewise.
	Callee planet.UserRef
	// MediaSourceType is at most [MaxMediaSourceType] bytes; "" is [StoredSource].
	MediaSourceType string
	// ContentIDs name the audio, as the LINE Planet Console shows it.
	ContentIDs []string
	// PlayWait is waited before the audio is played again; in whole milliseconds, the rest is
	// cut off.
	PlayWait time.Duration
	// PlayCount is how often the audio is played; 0 is once.
	PlayCount int
	// AppServerData comes back in the call's callbacks; at most [MaxAppServerData] bytes of
	// UTF-8 without NUL.
	AppServerData string
	// RecordOnCloud records the call; it needs an agreement with LINE Planet.
	RecordOnCloud bool
	// UseResponderPreparation lets the callee's app prepare before it is connected.
	UseResponderPreparation bool
}

// agentCallBody is the body on the wire: storedSource is an object, an array is refused.
type agentCallBody struct {
	RequestContext struct {
		UserID    string `json:"userId"`
		ServiceID string `json:"serviceId"`
	} `json:"requestContext"`
	MediaSourceType         string           `json:"mediaSourceType"`
	StoredSource            storedSourceBody `json:"storedSource"`
	AppServerData           string           `json:"appSvrData,omitempty"`
	RecordOnCloud           bool             `json:"recordOnCloud"`
	UseResponderPreparation bool             `json:"useResponderPreparation"`
}

type storedSourceBody struct {
	Audio     []storedAudio `json:"storedAudioSources"`
	PlayWait  int64         `json:"playWaitTime"` // milliseconds
	PlayCount int           `json:"playCount"`
}

type storedAudio struct {
	ContentID string `json:"contentId"`
}

// MakeAgentCall places a 1-to-1 call that plays stored audio ("Audio Caller"), and returns its
// session ID. The same ID comes with Notify, Agent Call Status and Call Event, which may
// arrive before this method returns.
//
// It is not repeated when an answer got lost, because the callee would be called twice: then
// [Error.MaybeExecuted] is true, and an Agent Call Status callback tells whether there is a
// call. The error is an [*Error].
//
// LINE Planet documents it for the Evaluation environment only.
// Source: https://docs.lineplanet.me/server-api/agent-call/server-api-audio-caller
func (c *Client) MakeAgentCall(ctx context.Context, call AgentCall) (planet.SessionID, error) {
	const operation = "make an agent call"
	call.Caller.ServiceID = cmp.Or(call.Caller.ServiceID, c.serviceID)
	call.Callee.ServiceID = cmp.Or(call.Callee.ServiceID, c.serviceID)
	call.MediaSourceType = cmp.Or(call.MediaSourceType, StoredSource)
	call.PlayCount = cmp.Or(call.PlayCount, 1)
	if err := call.validate(); err != nil {
		return "", invalid(operation, err)
	}
	answer, err := c.send(ctx, request{
		operation: operation, method: http.MethodPost, v2: true, contentType: "application/json",
		path: "/tas/v2/agt_call/audio_caller/" + url.PathEscape(call.Callee.ServiceID) + "/" + url.PathEscape(call.Callee.UserID),
		body: call.body(),
	})
	if err != nil {
		return "", err
	}
	sid, err := parseSession(answer)
	if err != nil {
		return "", &Error{
			Operation: operation, Kind: ErrUnexpected, Status: http.StatusOK, Attempts: 1, MaybeExecuted: true, cause: err,
		}
	}
	return sid, nil
}

func (a *AgentCall) validate() error {
	return errors.Join(
		about("the caller", validateServiceID(a.Caller.ServiceID), planet.ValidateUserID(a.Caller.UserID)),
		about("the callee", validateServiceID(a.Callee.ServiceID), planet.ValidateUserID(a.Callee.UserID)),
		a.validateSource(),
		validateAppServerData(a.AppServerData),
	)
}

// about says whose errors they are.
func about(who string, errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	return nil
}

func (a *AgentCall) validateSource() error {
	switch {
	case a.Caller == a.Callee:
		return errors.New("the caller is the callee; nobody can call himself")
	case len(a.MediaSourceType) > MaxMediaSourceType:
		return fmt.Errorf("the media source type has %d bytes; at most %d are allowed", len(a.MediaSourceType), MaxMediaSourceType)
	case !utf8.ValidString(a.MediaSourceType):
		return errors.New("the media source type is not UTF-8")
	case len(a.ContentIDs) == 0 || len(a.ContentIDs) > maxSources:
		return fmt.Errorf("there are %d content IDs; give 1 to %d", len(a.ContentIDs), maxSources)
	case a.PlayWait < 0 || a.PlayCount < 0:
		return errors.New("the waiting time or the count of the audio is negative")
	}
	for i, id := range a.ContentIDs {
		if id == "" || len(id) > maxContentID || !utf8.ValidString(id) {
			return fmt.Errorf("content ID %d has %d bytes; give 1 to %d of UTF-8", i+1, len(id), maxContentID)
		}
	}
	return nil
}

func validateAppServerData(data string) error {
	switch {
	case len(data) > MaxAppServerData:
		return fmt.Errorf("the app server data has %d bytes; at most %d are allowed", len(data), MaxAppServerData)
	case !utf8.ValidString(data) || strings.ContainsRune(data, 0):
		return errors.New("the app server data is not UTF-8 without NUL")
	}
	return nil
}

// body encodes the call. Nothing in it can fail to be encoded.
func (a *AgentCall) body() []byte {
	b := agentCallBody{
		MediaSourceType: a.MediaSourceType, AppServerData: a.AppServerData,
		StoredSource:  storedSourceBody{PlayWait: a.PlayWait.Milliseconds(), PlayCount: a.PlayCount},
		RecordOnCloud: a.RecordOnCloud, UseResponderPreparation: a.UseResponderPreparation,
	}
	b.RequestContext.UserID, b.RequestContext.ServiceID = a.Caller.UserID, a.Caller.ServiceID
	for _, id := range a.ContentIDs {
		b.StoredSource.Audio = append(b.StoredSource.Audio, storedAudio{id})
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	_ = e.Encode(b)
	return text.Bytes()
}
