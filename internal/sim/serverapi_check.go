package sim

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/planetbell/planetbell/planet"
)

// apiRoute is what a request is about.
type apiRoute struct {
	operation string // "" for an unknown path
	method    string
	v2        bool
	serviceID string
	id        string // the room, or the callee
}

// routeOf reads the escaped path, segment by segment.
func routeOf(r *http.Request) apiRoute {
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for i, s := range segments {
		segments[i], _ = url.PathUnescape(s) // net/http has refused what cannot be read
	}
	match := func(pattern string) bool {
		return slices.EqualFunc(strings.Split(pattern, "/"), segments, func(want, got string) bool {
			return want == "*" || want == got
		})
	}
	switch {
	case match("tas/v1/gcall/*/*/member"):
		return apiRoute{"kick-out", http.MethodDelete, false, segments[3], segments[4]}
	case match("tas/v1/gcall/*/*/data/broadcast"):
		return apiRoute{"broadcast", http.MethodPost, false, segments[3], segments[4]}
	case match("tas/v2/agt_call/audio_caller/*/*"):
		return apiRoute{"audio-caller", http.MethodPost, true, segments[4], segments[5]}
	}
	return apiRoute{v2: strings.HasPrefix(r.URL.Path, "/tas/v2/")}
}

// carryOut judges a request, and does it if it is good. answered is closed when the answer
// is sent, or will never be.
func (a *ServerAPI) carryOut(r *http.Request, body []byte, answered <-chan struct{}) apiAnswer {
	route := routeOf(r)
	refuse := func(status int, why string) apiAnswer {
		return apiAnswer{APIRequest: APIRequest{At: a.clock.Now(), Operation: route.operation, Status: status, Why: why}}
	}
	project, ok := a.projectOf(r)
	switch {
	case !ok:
		return refuse(http.StatusUnauthorized, "ApiKey not found")
	case a.hurried(project.APIKey):
		return refuse(http.StatusTooManyRequests, "more requests than allowed in a second")
	case route.operation == "":
		return refuse(http.StatusNotFound, "there is no such endpoint")
	case r.Method != route.method:
		return refuse(http.StatusBadRequest, "the method is not "+route.method)
	case planet.ValidateServiceID(route.serviceID) != nil || planet.ValidateRoomID(route.id) != nil:
		return refuse(http.StatusBadRequest, "an ID in the path is malformed")
	case route.serviceID != project.ServiceID:
		return refuse(http.StatusForbidden, "the API key has no right for this service")
	}
	var err error
	var sid planet.SessionID
	room := planet.RoomRef{ServiceID: route.serviceID, RoomID: route.id}
	switch route.operation {
	case "kick-out":
		err = a.kickOut(r, room, body)
	case "broadcast":
		err = a.broadcast(r, room, body)
	default:
		sid, err = a.audioCaller(r, planet.UserRef{ServiceID: route.serviceID, UserID: route.id}, body, answered)
	}
	switch {
	case errors.Is(err, errNoRoom):
		return refuse(http.StatusNotFound, err.Error())
	case errors.Is(err, errForeignCaller):
		return refuse(http.StatusForbidden, err.Error())
	case err != nil:
		return refuse(http.StatusBadRequest, err.Error())
	}
	done := refuse(http.StatusOK, "")
	done.Executed, done.SessionID, done.data = true, sid, map[string]string{"sid": string(sid)}
	return done
}

var (
	errNoRoom        = errors.New("no call is running in the room")
	errForeignCaller = errors.New("the API key has no right for the caller's service")
)

// projectOf finds the project whose key and secret the request shows. A project without a
// secret cannot be spoken for.
func (a *ServerAPI) projectOf(r *http.Request) (Project, bool) {
	key, secret, ok := r.BasicAuth()
	if !ok || key == "" || secret == "" {
		return Project{}, false
	}
	a.cloud.mu.Lock()
	defer a.cloud.mu.Unlock()
	for _, p := range a.cloud.projects {
		if p.APIKey == key && subtle.ConstantTimeCompare([]byte(p.APISecret.Reveal()), []byte(secret)) == 1 {
			return p, true
		}
	}
	return Project{}, false
}

// kickOut is DELETE .../member?user_id=u1,u2&reason=Text (docs/line-planet.md 7.2).
func (a *ServerAPI) kickOut(r *http.Request, ref planet.RoomRef, body []byte) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	users, reason := strings.Split(query.Get("user_id"), ","), query.Get("reason")
	switch {
	case err != nil:
		return errors.New("the query cannot be read")
	case len(body) > 0:
		return errors.New("a kick-out has no body")
	case len(users) > 100:
		return errors.New("more than 100 users")
	case slices.ContainsFunc(users, func(u string) bool { return planet.ValidateUserID(u) != nil }):
		return errors.New("user_id is missing or malformed")
	case reason == "" || strings.ContainsFunc(reason, notAlphanumeric):
		return errors.New("reason is not letters and digits")
	}
	room := a.cloud.Room(ref)
	if room == nil {
		return errNoRoom
	}
	events := room.kick(users, reason)
	a.cloud.spawn(func(ctx context.Context) {
		for _, params := range events {
			a.cloud.send(ctx, room.project, "group-call-event", params, nil)
		}
	})
	a.cloud.event(Event{Kind: EventServerAPI, SessionID: room.SessionID(), Text: "the app server removed users from room " + ref.RoomID})
	return nil
}

func notAlphanumeric(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
}

// broadcast is POST .../data/broadcast (docs/line-planet.md 7.3).
func (a *ServerAPI) broadcast(r *http.Request, ref planet.RoomRef, body []byte) error {
	switch {
	case mediaType(r, "Content-Type") != "text/plain":
		return errors.New("the content type is not text/plain")
	case len(body) == 0 || len(body) > 3072:
		return errors.New("the message is empty or longer than 3,072 bytes")
	}
	room := a.cloud.Room(ref)
	if room == nil {
		return errNoRoom
	}
	room.broadcast(string(body))
	a.cloud.event(Event{Kind: EventServerAPI, SessionID: room.SessionID(), Text: "the app server sent a message to room " + ref.RoomID})
	return nil
}

func mediaType(r *http.Request, header string) string {
	media, _, _ := mime.ParseMediaType(r.Header.Get(header))
	return media
}

// audioCallerBody is the body of Make Agent 1-to-1 Call. Fields that the documentation does
// not show are refused: whoever sends them relies on a guess.
type audioCallerBody struct {
	RequestContext *struct {
		UserID    string `json:"userId"`
		ServiceID string `json:"serviceId"`
	} `json:"requestContext"`
	MediaSourceType string `json:"mediaSourceType"`
	StoredSource    *struct {
		StoredAudioSources []struct {
			ContentID string `json:"contentId"`
		} `json:"storedAudioSources"`
		PlayWaitTime *int64 `json:"playWaitTime"`
		PlayCount    *int64 `json:"playCount"`
	} `json:"storedSource"`
	AppServerData           string `json:"appSvrData"`
	RecordOnCloud           bool   `json:"recordOnCloud"`
	UseResponderPreparation bool   `json:"useResponderPreparation"`
}

// check returns what is wrong with the body.
func (b *audioCallerBody) check() error {
	if b.RequestContext == nil || planet.ValidateUserID(b.RequestContext.UserID) != nil ||
		planet.ValidateServiceID(b.RequestContext.ServiceID) != nil {
		return errors.New("requestContext is missing or malformed")
	}
	switch s := b.StoredSource; {
	case len(b.MediaSourceType) > 48 || b.MediaSourceType != "STORED_SOURCE":
		return errors.New("mediaSourceType is not STORED_SOURCE")
	case s == nil || len(s.StoredAudioSources) == 0:
		return errors.New("storedSource names no audio")
	case s.PlayWaitTime != nil && *s.PlayWaitTime < 0 || s.PlayCount != nil && *s.PlayCount < 1:
		return errors.New("playWaitTime or playCount is out of range")
	case len(b.AppServerData) > 4095 || !utf8.ValidString(b.AppServerData):
		return errors.New("appSvrData is longer than 4,095 bytes")
	}
	for _, source := range b.StoredSource.StoredAudioSources {
		if source.ContentID == "" {
			return errors.New("a contentId is empty")
		}
	}
	return nil
}

// audioCaller is POST /tas/v2/agt_call/audio_caller/{service}/{user} (docs/line-planet.md 7.5).
func (a *ServerAPI) audioCaller(r *http.Request, callee planet.UserRef, body []byte, answered <-chan struct{}) (planet.SessionID, error) {
	if mediaType(r, "Accept") != "application/json" || mediaType(r, "Content-Type") != "application/json" {
		return "", errors.New("Accept and Content-Type are not application/json")
	}
	var b audioCallerBody
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return "", errors.New("the body is not the documented JSON")
	}
	if err := b.check(); err != nil {
		return "", err
	}
	caller := planet.UserRef{ServiceID: b.RequestContext.ServiceID, UserID: b.RequestContext.UserID}
	switch {
	case caller.ServiceID != callee.ServiceID:
		return "", errForeignCaller
	case caller == callee:
		return "", errors.New("the caller is the callee")
	}
	return a.place(CallRequest{Caller: caller, Callee: callee, AppServerData: b.AppServerData}, answered)
}

// place makes the call, and reports its status in the planned order.
func (a *ServerAPI) place(request CallRequest, answered <-chan struct{}) (planet.SessionID, error) {
	p := a.agentPlan()
	service := request.Caller.ServiceID
	report := func(ctx context.Context, sid planet.SessionID) { a.reportStatus(ctx, service, sid, p.FailReason) }
	sid := planet.SessionID(newUUID())
	if p.FailReason == "" {
		request.Plan = p.Plan
		if p.Order == StatusFirst {
			request.before = report
		}
		call, err := a.cloud.Place(request)
		if err != nil {
			return "", err
		}
		sid = call.SessionID()
	}
	switch {
	case p.Order == StatusAfterward:
		a.cloud.spawn(func(ctx context.Context) {
			select {
			case <-answered:
				report(ctx, sid)
			case <-ctx.Done():
			}
		})
	case p.Order == StatusEarly || p.FailReason != "":
		report(a.cloud.ctx, sid)
	}
	return sid, nil
}
