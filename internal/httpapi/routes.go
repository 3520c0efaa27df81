package httpapi

import (
	"net/http"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/room"
)

// handler answers a request, or returns an error before anything was written.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is one path. Either all is set, and takes every method, or get and post.
// HEAD is never taken for get: a HEAD on a poll would take a call and drop it.
type route struct {
	path string
	web  bool // pages of the configured web origins may call it
	get  handler
	post handler
	all  handler
}

// routes is every route of the public listener. What is not here answers 404, and so
// does a callback route whose secret is wrong.
func (a *api) routes() []route {
	return []route{
		{path: "/cb/{secret}/notify", all: a.callback(kindNotify, a.notify)},
		{path: "/cb/{secret}/call-event", all: a.callback(call.KindCallEvent, a.callEvent)},
		{path: "/cb/{secret}/group-call-event", all: a.callback(room.KindGroupCallEvent, a.groupCallEvent)},
		{path: "/cb/{secret}/agent-call-status", all: a.callback(call.KindAgentCallStatus, a.agentCallStatus)},
		{path: "/cb/{secret}/recording", all: a.recordingRoute()},

		{path: "/v2/register_user", web: true, post: a.registerUser},
		{path: "/v2/register_device", web: true, post: a.authenticated(a.registerDevice)},
		{path: "/v2/update_notification_token", web: true, post: a.authenticated(a.updateNotificationToken)},
		{path: "/v2/access_token/issue", web: true, get: a.authenticated(a.issueAccessToken)},
		{path: "/v2/notification/lp", web: true, get: a.longPoll},
		{path: "/v2/notification/sse", web: true, get: a.stream},
		{path: "/v2/notification/ack", web: true, post: a.authenticated(a.acknowledge)},
		{path: "/v2/web_push/key", web: true, get: a.authenticated(a.showWebPushKey)},
		{path: "/v2/calls", web: true, get: a.authenticated(a.listCalls)},
		{path: "/v2/rooms/{id}/invite", web: true, post: a.authenticated(a.invite)},

		{path: "/v2/block_user", web: true, post: a.authenticated(a.blockUser)},
		{path: "/v2/unblock_user", web: true, post: a.authenticated(a.unblockUser)},
		{path: "/v2/blocked_users", web: true, get: a.authenticated(a.listBlocked)},
		{path: "/v2/do_not_disturb", web: true, get: a.authenticated(a.doNotDisturb), post: a.authenticated(a.setDoNotDisturb)},

		{path: "/openapi.yaml", get: a.openAPI},
		{path: "/", all: a.unknownPath},
	}
}

// unmatched is the route label of requests for paths that do not exist.
const unmatched = "unmatched"

func (a *api) mux() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range a.routes() {
		mux.Handle(rt.path, a.serve(rt))
	}
	return mux
}

// serve runs a route: notes its name for the log line, deals with browsers, chooses
// the handler by method, and turns its error into the answer.
func (a *api) serve(rt route) http.Handler {
	name := rt.path
	if name == "/" {
		name = unmatched
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		eventOf(r).route = name
		if rt.web && a.cors(w, r, rt) {
			return
		}
		handle := rt.choose(r.Method)
		if handle == nil {
			w.Header().Set("Allow", rt.allow())
			a.fail(w, r, bell.E(methodNotAllowed, "Use "+rt.allow()+" here.", nil))
			return
		}
		if err := handle(w, r); err != nil {
			a.fail(w, r, err)
		}
	})
}

func (rt route) choose(method string) handler {
	switch {
	case rt.all != nil:
		return rt.all
	case method == http.MethodGet:
		return rt.get
	case method == http.MethodPost:
		return rt.post
	}
	return nil
}

func (rt route) allow() string {
	var methods []string
	if rt.get != nil {
		methods = append(methods, http.MethodGet)
	}
	if rt.post != nil {
		methods = append(methods, http.MethodPost)
	}
	if rt.web {
		methods = append(methods, http.MethodOptions)
	}
	return strings.Join(methods, ", ")
}

func (a *api) unknownPath(_ http.ResponseWriter, r *http.Request) error {
	return a.miss(r)
}

// miss answers for every path that leads nowhere, so that a wrong callback secret
// looks exactly like a path that does not exist.
//
// Secrets have 128 bits and more, and right ones are never refused, whoever shares
// the address: so the limit does not keep secrets safe. It keeps a scanner from
// filling the log: past the limit, lines are at debug level.
func (a *api) miss(r *http.Request) error {
	if !a.misses.allow(household(a.clientAddress(r)), a.config.Now()) {
		a.metrics.limited.WithLabelValues("miss").Inc()
		eventOf(r).quiet = true
		return bell.E(bell.TooMany, "Too many requests for paths that do not exist here; wait a minute.", nil)
	}
	return bell.E(bell.NotFound, "There is nothing at this path.", nil)
}
