package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// wire is a connection that speaks just enough HTTP/1.1 for a server of ours. net/http's client
// takes as much of the processor as the server that is to be measured beside it.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

// wires are one connection for each worker of a closed loop.
type wires struct {
	host string
	all  []*wire
}

func dialWires(ctx context.Context, url string, n int) (*wires, error) {
	w := &wires{host: strings.TrimPrefix(url, "http://")}
	for range n {
		conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", w.host)
		if err != nil {
			w.close()
			return nil, err
		}
		w.all = append(w.all, &wire{conn: conn, in: bufio.NewReader(conn)})
	}
	return w, nil
}

func (w *wires) close() {
	for _, c := range w.all {
		_ = c.conn.Close()
	}
}

var contentLength = []byte("Content-Length: ")

// get asks over a worker's connection; an answer that is not 200 is an error.
func (w *wires) get(worker int, path []byte) error {
	c := w.all[worker]
	c.out = append(append(append(append(c.out[:0], "GET "...), path...), " HTTP/1.1\r\nHost: "...), w.host...)
	c.out = append(c.out, "\r\n\r\n"...)
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	status, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answered %s", bytes.TrimSpace(status))
	}
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if text, ok := bytes.CutPrefix(line, contentLength); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(text))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without a length")
	}
	_, err = c.in.Discard(length)
	return err
}

// measureBareWire is what net/http can answer at most when its client costs next to nothing.
func measureBareWire(ctx context.Context, s settings, _ *server, _ *provider) (figure, error) {
	return withBareHandler(func(_ *http.Client, url string) (figure, error) {
		base, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
		w, err := dialWires(ctx, "http://"+base, bareConnections)
		if err != nil {
			return figure{}, err
		}
		defer w.close()
		rate, took, err := closedLoop(ctx, bareConnections, s.length, func(worker, _ int) error {
			return w.get(worker, []byte("/"+path))
		})
		return figure{perSecond: rate, answer: quantilesOf(took)}, err
	})
}
