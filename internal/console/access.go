package console

import (
	"context"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console/signin"
)

// identifyTime bounds the look-up of a session, also where a route may take as long as it likes.
const identifyTime = 5 * time.Second

// authorized lets requests through of whoever has the route's role.
func (c *console) authorized(rt route, h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		p, err := c.identify(r, rt.kind != streamRoute && !polls(r))
		noteWho(r.Context(), p)
		if err == nil && p.Role.Covers(rt.least) {
			return h(w, r.WithContext(withPrincipal(r.Context(), p)))
		}
		eventOf(r.Context()).refused = err == nil || bell.KindOf(err) == bell.Forbidden // else it is not known who asks
		switch {
		case err != nil:
			return err
		case p != (signin.Principal{}):
			return bell.E(bell.Forbidden, "This needs the role "+string(rt.least)+"; "+p.Name+" has the role "+string(p.Role)+".", nil)
		case rt.kind == pageRoute && r.Header.Get("Authorization") == "":
			http.Redirect(w, r, signin.AskURL(r), http.StatusSeeOther)
			return bell.E(bell.Unauthorized, "Nobody is signed in.", nil) // answered already
		}
		return c.refuse(w, r)
	}
}

// polls reports whether a page asks by itself, with nobody having done anything.
func polls(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("HX-Request") == "true"
}

// identify says who asks. A session is in use if somebody has done something, which acts says: a
// page that is left open keeps none. It takes identifyTime at most.
func (c *console) identify(r *http.Request, acts bool) (signin.Principal, error) {
	if c.openTo(r) {
		return signin.Principal{Name: "local", Role: bell.Admin, Via: signin.ViaLoopback}, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), identifyTime)
	defer cancel()
	if r = r.WithContext(ctx); !acts {
		return c.signin.Peek(r)
	}
	return c.signin.Identify(r)
}

// refuse answers somebody who has shown nothing that is any good.
func (c *console) refuse(w http.ResponseWriter, r *http.Request) error {
	if !c.refusals.AllowN(c.Now(), 1) {
		eventOf(r.Context()).quiet = true
		w.Header().Set("Retry-After", "10")
		return bell.E(bell.TooMany, "Too many requests with a wrong admin token; wait a few seconds.", nil)
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="planetbell admin"`)
	return bell.E(bell.Unauthorized, c.refusalOf(r.Header), nil)
}

func (c *console) refusalOf(h http.Header) string {
	switch {
	case c.signin.Empty() && c.OpenOnLoopback && proxied(h):
		return "The admin API is closed to what comes through a proxy, because there are no credentials; set admin.token in the server's configuration."
	case c.signin.Empty():
		return "The admin API is closed: there are no credentials, or admin.token has less than 16 characters."
	case h.Get("Authorization") == "":
		return "The admin token is missing; send it as \"Authorization: Bearer <token>\"."
	}
	return "The admin token is wrong; it is admin.token, or one of admin.tokens, in the server's configuration."
}

// askSignIn shows the sign-in page, unless nobody has to sign in here.
func (c *console) askSignIn(w http.ResponseWriter, r *http.Request) error {
	if c.openTo(r) {
		http.Redirect(w, r, signin.LocalPath(r.URL.Query().Get("next")), http.StatusSeeOther)
		return nil
	}
	return c.signin.Ask(w, r)
}

func (c *console) signIn(w http.ResponseWriter, r *http.Request) error {
	return c.arrived(r)(c.signin.SignIn(w, r))
}

func (c *console) visitOIDC(w http.ResponseWriter, r *http.Request) error {
	return c.arrived(r)(signin.Principal{}, c.signin.Visit(w, r))
}

func (c *console) signInOIDC(w http.ResponseWriter, r *http.Request) error {
	eventOf(r.Context()).unrecorded = c.SignIn.OIDC == nil
	return c.arrived(r)(c.signin.Return(w, r))
}

func (c *console) signOut(w http.ResponseWriter, r *http.Request) error {
	who, err := c.signin.SignOut(w, r)
	eventOf(r.Context()).unrecorded = err == nil && who == (signin.Principal{}) // there was nothing to end
	return c.arrived(r)(who, err)
}

// arrived notes who signs in or out, or tries to. Who tries too often is not in the log.
func (c *console) arrived(r *http.Request) func(signin.Principal, error) error {
	return func(p signin.Principal, err error) error {
		noteWho(r.Context(), p)
		e := eventOf(r.Context())
		switch bell.KindOf(err) {
		case bell.TooMany:
			e.quiet, e.refused = true, true
		case bell.Unauthorized, bell.Forbidden:
			e.refused = true
		}
		return err
	}
}
