package bus

import (
	"errors"
	"strconv"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/planet"
)

// A message is text, so that psql and nats can show it: a line that says who sends, and a
// line for each hint. Fields are divided by tabs; what they hold has none.
//
//	pb1 <tab> node <tab> run of the node <tab> number of the message
//	m   <tab> device
//	o   <tab> environment <tab> session
//	r   <tab> environment <tab> session <tab> device
//	d   <tab> environment <tab> service <tab> user
//
// Numbers go up by one for each message of a run, so a missing one is noticed by all. A
// heartbeat has no hints. Readers skip kinds that they do not know and fields past those
// that they know: they are of a newer release.
const (
	version = "pb1"

	// maxMessage bounds a message, in bytes. PostgreSQL takes less than 8,000
	// (https://www.postgresql.org/docs/current/sql-notify.html). It bounds the hints, too.
	maxMessage = 7900
	// MaxNode bounds the name of a node, in bytes: a host's name and an ID.
	MaxNode = 200
	// maxField bounds each ID in a hint, in bytes. Those of LINE Planet have 64, ours fewer.
	maxField = 128
)

// header is the first line.
type header struct {
	node string
	run  string // another one for each run of a node: 1 to 32 characters
	seq  uint64 // from 1
}

// errDamaged is why a message is dropped. It does not repeat it: it may be anything.
var errDamaged = errors.New("damaged")

// plain reports whether text is 1 to most printable ASCII characters without a space.
func plain(text string, most int) bool {
	if text == "" || len(text) > most {
		return false
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

func knownEnvironment(e planet.Environment) bool {
	return e == planet.Evaluation || e == planet.Real
}

// valid reports whether the hint has what its kind needs, and nothing that cannot travel.
func valid(h cluster.Hint) bool {
	fields := fieldsOf(h)
	for i, field := range fields {
		if !plain(field, maxField) || i == 0 && len(fields) > 1 && !knownEnvironment(planet.Environment(field)) {
			return false
		}
	}
	return len(fields) > 0
}

// fieldsOf are what travels of the hint; none of a kind that is not known.
func fieldsOf(h cluster.Hint) []string {
	switch h.Kind {
	case cluster.HintMailbox:
		return []string{h.DeviceID}
	case cluster.HintOver:
		return []string{string(h.Environment), string(h.SessionID)}
	case cluster.HintReceived:
		return []string{string(h.Environment), string(h.SessionID), h.DeviceID}
	case cluster.HintDevices:
		return []string{string(h.Owner.Environment), h.Owner.User.ServiceID, h.Owner.User.UserID}
	}
	return nil
}

// letters begin the lines of hints.
var letters = map[cluster.HintKind]byte{
	cluster.HintMailbox: 'm', cluster.HintOver: 'o', cluster.HintReceived: 'r', cluster.HintDevices: 'd',
}

// appendHint writes the hint's line. The hint is valid.
func appendHint(b []byte, h cluster.Hint) []byte {
	b = append(b, letters[h.Kind])
	for _, field := range fieldsOf(h) {
		b = append(append(b, '\t'), field...)
	}
	return append(b, '\n')
}

func (h header) append(b []byte) []byte {
	b = append(b, version+"\t"...)
	b = append(append(b, h.node...), '\t')
	b = append(append(b, h.run...), '\t')
	return append(strconv.AppendUint(b, h.seq, 10), '\n')
}

// encode writes valid hints as messages, numbered from first. Without hints it is one
// message: a heartbeat.
func encode(node, run string, first uint64, hints []cluster.Hint) (messages []string) {
	h := header{node: node, run: run, seq: first}
	b := h.append(nil)
	var line []byte
	for _, hint := range hints {
		line = appendHint(line[:0], hint)
		if len(b)+len(line) > maxMessage {
			messages = append(messages, string(b))
			h.seq++
			b = h.append(b[:0])
		}
		b = append(b, line...)
	}
	return append(messages, string(b))
}

// decodeHeader reads the first line and returns the rest.
func decodeHeader(message string) (h header, rest string, err error) {
	if len(message) > maxMessage {
		return header{}, "", errDamaged
	}
	line, rest, whole := strings.Cut(message, "\n")
	fields := strings.SplitN(line, "\t", 6)
	if !whole || len(fields) < 4 || fields[0] != version || !plain(fields[1], MaxNode) || !plain(fields[2], 32) {
		return header{}, "", errDamaged
	}
	h = header{node: fields[1], run: fields[2]}
	if h.seq, err = strconv.ParseUint(fields[3], 10, 64); err != nil || h.seq == 0 {
		return header{}, "", errDamaged
	}
	return h, rest, nil
}

// decodeHints reads the other lines. One that is wrong damages all of them.
func decodeHints(lines string) (hints []cluster.Hint, err error) {
	for lines != "" {
		line, rest, whole := strings.Cut(lines, "\n")
		if !whole {
			return nil, errDamaged
		}
		lines = rest
		hint, known, err := decodeHint(line)
		if err != nil {
			return nil, err
		}
		if known {
			hints = append(hints, hint)
		}
	}
	return hints, nil
}

func decodeHint(line string) (h cluster.Hint, known bool, err error) {
	f := strings.SplitN(line, "\t", 6)
	if !plain(f[0], 8) {
		return h, false, errDamaged
	}
	needs := map[string]int{"m": 1, "o": 2, "r": 3, "d": 3}[f[0]]
	if needs == 0 {
		return h, false, nil
	}
	if len(f) <= needs {
		return h, false, errDamaged
	}
	switch f[0] {
	case "m":
		h = cluster.Hint{Kind: cluster.HintMailbox, DeviceID: f[1]}
	case "o":
		h = cluster.Hint{Kind: cluster.HintOver, Environment: planet.Environment(f[1]), SessionID: planet.SessionID(f[2])}
	case "r":
		h = cluster.Hint{Kind: cluster.HintReceived, Environment: planet.Environment(f[1]), SessionID: planet.SessionID(f[2]), DeviceID: f[3]}
	case "d":
		user := planet.UserRef{ServiceID: f[2], UserID: f[3]}
		h = cluster.Hint{Kind: cluster.HintDevices, Owner: bell.Owner{Environment: planet.Environment(f[1]), User: user}}
	}
	if !valid(h) {
		return cluster.Hint{}, false, errDamaged
	}
	return h, true, nil
}
