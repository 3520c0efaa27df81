package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/examples/web"
	"github.com/planetbell/planetbell/internal/sim"
)

// page is the example softphone on a port of its own, with the pretend Planet Cloud at /cloud/.
// A browser takes an address on loopback for a secure one, so service workers work.
type page struct {
	origin string
	server *http.Server
	done   chan error
	cancel context.CancelFunc // ends the calls that pages are in
}

// pageEnd bounds the end of requests whose contexts have ended.
const pageEnd = 5 * time.Second

// listenPage takes the port, so that the server can be told the page's origin.
func listenPage(ctx context.Context, address string) (*page, net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("start the softphone's page: %w", err)
	}
	return &page{origin: "http://" + l.Addr().String(), done: make(chan error, 1)}, l, nil
}

// serve serves the page until close.
func (p *page) serve(l net.Listener, world *sim.World, c web.Config) error {
	c.Cloud, c.CloudURL = "sim", "cloud"
	files, err := web.Handler(web.Files(), nil, c)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("/cloud/", http.StripPrefix("/cloud", world.Browser(p.origin)))
	mux.Handle("/", files)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.server = &http.Server{
		Handler: p.canonical(mux), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() { p.done <- p.server.Serve(l) }()
	return nil
}

// canonical sends whoever comes by another name, such as localhost, to the one origin that the
// server and the pretend cloud take. It also keeps out names that somebody has pointed here.
func (p *page) canonical(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if "http://"+r.Host != p.origin {
			http.Redirect(w, r, p.origin+"/", http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// close ends the calls of pages, and waits for their requests.
func (p *page) close() error {
	if p == nil || p.server == nil {
		return nil
	}
	p.cancel()
	ctx, cancel := context.WithTimeoutCause(context.Background(), pageEnd, errors.New("the softphone's requests did not end in time"))
	defer cancel()
	err := p.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, p.server.Close())
	}
	if served := <-p.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	p.server = nil
	return err
}
