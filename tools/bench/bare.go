package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the same driver as the product's
)

// bareConnections is how many connections the bare handler is loaded with.
const bareConnections = 64

// measureBareHandler is what net/http can answer at most: a GET with a small JSON body.
func measureBareHandler(ctx context.Context, s settings, _ *server, _ *provider) (figure, error) {
	return withBareHandler(func(client *http.Client, url string) (figure, error) {
		rate, took, err := closedLoop(ctx, bareConnections, s.length, func(int, int) error {
			return get(context.WithoutCancel(ctx), client, url)
		})
		return figure{perSecond: rate, answer: quantilesOf(took)}, err
	})
}

// measureBareAnswer is how soon net/http answers at 1,000 requests a second.
func measureBareAnswer(ctx context.Context, s settings, _ *server, _ *provider) (figure, error) {
	return withBareHandler(func(client *http.Client, url string) (figure, error) {
		var t times
		err := openLoop(ctx, 1000, s.length, func(_ int, planned time.Time) error {
			err := get(context.WithoutCancel(ctx), client, url)
			t.add(time.Since(planned), 0)
			return err
		})
		return figure{perSecond: 1000, answer: quantilesOf(t.answers)}, err
	})
}

// withBareHandler runs a measurement against a handler that does nothing.
func withBareHandler(measure func(client *http.Client, url string) (figure, error)) (figure, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return figure{}, err
	}
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(w, `{"status":"success","data":{},"timestamp":1700000000000}`)
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	client := newClient()
	f, err := measure(client, "http://"+l.Addr().String()+"/notify?sid=1")
	client.CloseIdleConnections()
	err = errors.Join(err, srv.Close())
	<-done
	return f, err
}

// measureBarePush is what one HTTP/2 connection to the same pretend provider carries: a
// push of the usual size, 100 at once.
func measureBarePush(ctx context.Context, s settings, _ *server, fake *provider) (figure, error) {
	return withBareConnection(ctx, fake, func(push func(worker int) error) (figure, error) {
		rate, took, err := closedLoop(ctx, 100, s.length, func(worker, _ int) error { return push(worker) })
		return figure{perSecond: rate, answer: quantilesOf(took)}, err
	})
}

// measureBarePushAnswer is how soon a push is answered at 1,000 a second.
func measureBarePushAnswer(ctx context.Context, s settings, _ *server, fake *provider) (figure, error) {
	return withBareConnection(ctx, fake, func(push func(worker int) error) (figure, error) {
		var t times
		err := openLoop(ctx, 1000, s.length, func(number int, planned time.Time) error {
			err := push(number)
			t.add(0, time.Since(planned))
			return err
		})
		return figure{perSecond: 1000, push: quantilesOf(t.pushes)}, err
	})
}

// withBareConnection runs a measurement with one connection to the pretend provider.
func withBareConnection(ctx context.Context, fake *provider, measure func(push func(worker int) error) (figure, error)) (figure, error) {
	fake.delay.Store(0)
	transport := &http.Transport{TLSClientConfig: fake.clientTLS(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	conn, err := transport.NewClientConn(ctx, "https", fake.address())
	if err != nil {
		return figure{}, err
	}
	defer conn.Close()
	body := bytes.Repeat([]byte("x"), 700)
	return measure(func(worker int) error {
		req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, fake.url()+"/3/device/00", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Apns-Topic", "com.example.bench.voip")
		req.Header.Set("Apns-Push-Type", "voip")
		req.Header.Set("Apns-Id", fmt.Sprintf("00000000-0000-4000-8000-%012d", worker))
		resp, err := conn.RoundTrip(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}

// commitGroup is how many rows go into one commit at most, and how many submitters wait.
const commitGroup = 256

// measureBareCommit is what SQLite can put on disk: one small row each from 256
// submitters, committed in groups, every submitter waiting for its own commit.
func measureBareCommit(ctx context.Context, s settings, _ *server, _ *provider) (figure, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.folder, "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return figure{}, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `create table if not exists bare (id integer primary key, body blob)`); err != nil {
		return figure{}, errors.Join(err, db.Close())
	}
	body := bytes.Repeat([]byte("x"), 300)
	waiting := make(chan chan error, commitGroup)
	done := make(chan struct{})
	go func() {
		defer close(done)
		commitGroups(db, body, waiting)
	}()
	rate, took, err := closedLoop(ctx, commitGroup, s.length, func(int, int) error {
		answer := make(chan error, 1)
		waiting <- answer
		return <-answer
	})
	close(waiting)
	<-done
	return figure{perSecond: rate, answer: quantilesOf(took)}, errors.Join(err, db.Close())
}

// commitGroups inserts a row for each waiting submitter, as many as wait at once in one
// transaction, until the channel is closed.
func commitGroups(db *sql.DB, body []byte, waiting <-chan chan error) {
	for first := range waiting {
		group := []chan error{first}
		for more := true; more && len(group) < commitGroup; {
			select {
			case next, open := <-waiting:
				if more = open; open {
					group = append(group, next)
				}
			default:
				more = false
			}
		}
		err := commit(db, body, len(group))
		for _, answer := range group {
			answer <- err
		}
	}
}

func commit(db *sql.DB, body []byte, rows int) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	for range rows {
		if _, err := tx.Exec(`insert into bare (body) values (?)`, body); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}
