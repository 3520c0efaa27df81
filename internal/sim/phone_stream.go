package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/planet"
)

const (
	// streamSilence is after how long without a byte an app believes its stream to be dead: the
	// server says something every 15 seconds.
	streamSilence = 40 * time.Second
	// streamRetry is when it comes back if the server does not say when.
	streamRetry = 2 * time.Second
)

// streamPath is where the phone listens.
func (p *Phone) streamPath() string {
	if p.o.Notices {
		return "notification/sse?notices=1"
	}
	return "notification/sse"
}

// streamLoop is pollLoop for an app of one's own that holds a stream
// (docs/clients/own-clients.md).
func (p *Phone) streamLoop(ctx context.Context, account clients.Registration) {
	for ctx.Err() == nil && p.clock.Now().Before(account.Expires) {
		wait, err := p.streamOnce(ctx, account)
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		p.stats.Streams++
		p.mu.Unlock()
		if err != nil {
			p.trouble("notification/sse", err)
		}
		if errors.Is(err, clients.ErrExpired) {
			return
		}
		_ = p.clock.Wait(ctx, wait) // the loop looks at ctx
	}
}

// streamOnce holds one stream until it ends, and returns when the next is to begin.
func (p *Phone) streamOnce(ctx context.Context, account clients.Registration) (time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(streamSilence, func() { cancel(errors.New("the stream fell silent")) })
	defer silence.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url(p.streamPath()), http.NoBody)
	if err != nil {
		return streamRetry, errors.New("the base URL is malformed")
	}
	req.Header.Set("Authorization", "Bearer "+account.AppToken)
	req.Header.Set("Accept", "text/event-stream")
	p.mu.Lock()
	lastID := p.lastEvent
	p.mu.Unlock()
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return streamRetry, errors.New(withoutURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return refusedStream(resp)
	}
	r := clients.NewStreamReader(resp.Body, lastID)
	r.Line = func() { silence.Reset(streamSilence) }
	err = p.readStream(r)
	if r.Retry == 0 {
		r.Retry = streamRetry
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return r.Retry, err
}

func refusedStream(resp *http.Response) (time.Duration, error) {
	if resp.StatusCode == http.StatusUnauthorized {
		return streamRetry, clients.ErrExpired
	}
	after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		return clients.Pause, fmt.Errorf("a stream was refused with HTTP status %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	return time.Duration(after) * time.Second, nil
}

// readStream takes what a stream brings until it ends.
func (p *Phone) readStream(r *clients.StreamReader) error {
	for {
		e, err := r.Next()
		if err != nil {
			return err
		}
		if err := p.streamed(e); err != nil {
			return err
		}
		p.mu.Lock()
		p.lastEvent = e.LastID // it has been dealt with
		p.mu.Unlock()
	}
}

// streamed takes one event.
func (p *Phone) streamed(e clients.StreamEvent) error {
	a := clients.StreamAnswer(e, p.clock.Now())
	receipt := receiptOfPoll(a)
	receipt.Channel = "sse"
	switch e.Name {
	case "call":
		poll := p.profile.decoder.Poll(a)
		if poll.Call == nil {
			return fmt.Errorf("a call on a stream cannot be used: %w", poll.Err)
		}
		if !p.acknowledge(receipt) {
			p.ringUntilEnded(receipt.SID, *poll.Call)
		}
	case "notice":
		fields, err := clients.PollTexts(a)
		if err != nil || !p.o.Notices {
			return fmt.Errorf("a notice on a stream cannot be used, or was not asked for: %w", err)
		}
		p.noticed(Notice{Via: "stream", Fields: fields}, receipt)
	case "ended":
		end, err := clients.ReadStreamEnd(e)
		if err != nil {
			return err
		}
		p.streamEnded(end)
	default:
		return fmt.Errorf("a stream has an event %.20q", e.Name)
	}
	return nil
}

// ringUntilEnded rings until the call is over, or the stream says that it is.
func (p *Phone) ringUntilEnded(sid string, call clients.Call) {
	ctx, cancel := context.WithCancel(p.ctx)
	p.mu.Lock()
	p.ringing[sid] = cancel
	p.mu.Unlock()
	p.background(func() {
		defer cancel()
		p.ring(ctx, call, "stream")
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.ringing, sid)
	})
}

func (p *Phone) streamEnded(end clients.StreamEnd) {
	p.mu.Lock()
	known := p.had[end.SessionID]
	if stop := p.ringing[end.SessionID]; stop != nil {
		stop()
	}
	p.mu.Unlock()
	if !known {
		p.trouble("notification/sse", errors.New("a stream was told of the end of a call that it was not told of"))
	}
	p.ends.add(end)
	p.event(Event{Kind: EventEnded, SessionID: planet.SessionID(end.SessionID), Text: "stops to ring, as its stream says: " + end.Why})
}

// AwaitEnded returns what the phone's streams said of ends once there are at least n, or what
// there is with the context's error.
func (p *Phone) AwaitEnded(ctx context.Context, n int) ([]clients.StreamEnd, error) {
	return p.ends.wait(ctx, uint64(n))
}
