package clients

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// StreamEvent is what a stream of server-sent events dispatches (HTML Living Standard, 9.2.6).
type StreamEvent struct {
	Name   string // "message" if the server names none
	LastID string // what the client is to send as Last-Event-ID
	Data   string
}

// StreamReader reads a stream as that standard says, and is stricter: what a browser
// would pass over without a word is an error. Not safe for concurrent use.
type StreamReader struct {
	lines *bufio.Scanner
	// LastID is the ID of the newest whole event, Retry the newest "retry"; 0 when there was none.
	LastID string
	Retry  time.Duration
	// Line is called for each line, comments too; nil: nobody is.
	Line func()
}

// maxStreamLine bounds a line: an event's data has 4 KB of cc_param and as much of app server data.
const maxStreamLine = 64 << 10

// NewStreamReader returns a reader of in.
func NewStreamReader(in io.Reader, lastID string) *StreamReader {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 4096), maxStreamLine)
	return &StreamReader{lines: lines, LastID: lastID}
}

// Next returns the next event. At the end of the stream it returns io.EOF; what was not
// ended by an empty line is dropped, as the standard says.
func (r *StreamReader) Next() (StreamEvent, error) {
	e := StreamEvent{Name: "message", LastID: r.LastID}
	var data []string
	for r.lines.Scan() {
		if r.Line != nil {
			r.Line()
		}
		line := r.lines.Text()
		if !utf8.ValidString(line) {
			return e, errors.New("the stream is not UTF-8")
		}
		if line == "" {
			r.LastID = e.LastID // not before: a stream may be cut within an event
			if len(data) == 0 {
				e.Name = "message"
				continue
			}
			e.Data = strings.Join(data, "\n")
			return e, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "": // a comment
		case "event":
			e.Name = value
		case "data":
			data = append(data, value)
		case "id":
			e.LastID = value
		case "retry":
			ms, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return e, fmt.Errorf("the stream's retry is %.20q, which is not a number", value)
			}
			r.Retry = time.Duration(ms) * time.Millisecond
		default:
			return e, fmt.Errorf("the stream has a field %.20q", field)
		}
	}
	if err := r.lines.Err(); err != nil {
		return e, err
	}
	return e, io.EOF
}

// StreamAnswer is a stream's event in the form of a poll's answer, which has the same data.
func StreamAnswer(e StreamEvent, now time.Time) Answer {
	return Answer{Status: 200, Body: []byte(`{"status":"success","data":` + e.Data + `,"timestamp":` + strconv.FormatInt(now.UnixMilli(), 10) + `}`)}
}

// StreamEnd is the data of an event "ended".
type StreamEnd struct {
	SessionID string
	Why       string
}

// ReadStreamEnd decodes it.
func ReadStreamEnd(e StreamEvent) (StreamEnd, error) {
	o, err := parseObject([]byte(e.Data))
	if err != nil {
		return StreamEnd{}, err
	}
	end := StreamEnd{}
	if end.SessionID, err = o.str(sessionKey); err != nil {
		return end, err
	}
	end.Why, err = o.str("why")
	return end, err
}
