package bus

import (
	"errors"
	"strconv"
	"strings"

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
	// maxField bounds a device's ID, in bytes.
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
func (h Hint) valid() bool {
	switch h.Kind {
	case Mail:
		return plain(h.Device, maxField)
	case CallOver:
		return knownEnvironment(h.Environment) && plain(string(h.Session), maxField)
	case Receipt:
		return knownEnvironment(h.Environment) && plain(string(h.Session), maxField) && plain(h.Device, maxField)
	case DevicesChanged:
		return knownEnvironment(h.Environment) && plain(h.User.ServiceID, maxField) && plain(h.User.UserID, maxField)
	}
	return false
}

// append writes the hint's line. The hint is valid.
func (h Hint) append(b []byte) []byte {
	var letter byte
	var fields [3]string
	switch h.Kind {
	case Mail:
		letter, fields = 'm', [3]string{h.Device}
	case CallOver:
		letter, fields = 'o', [3]string{string(h.Environment), string(h.Session)}
	case Receipt:
		letter, fields = 'r', [3]string{string(h.Environment), string(h.Session), h.Device}
	case DevicesChanged:
		letter, fields = 'd', [3]string{string(h.Environment), h.User.ServiceID, h.User.UserID}
	}
	b = append(b, letter)
	for _, field := range fields {
		if field != "" {
			b = append(append(b, '\t'), field...)
		}
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
func encode(node, run string, first uint64, hints []Hint) (messages []string) {
	h := header{node: node, run: run, seq: first}
	b := h.append(nil)
	var line []byte
	for _, hint := range hints {
		line = hint.append(line[:0])
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
func decodeHints(from, lines string) (hints []Hint, err error) {
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
			hint.From = from
			hints = append(hints, hint)
		}
	}
	return hints, nil
}

func decodeHint(line string) (h Hint, known bool, err error) {
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
		h = MailFor(f[1])
	case "o":
		h = OverFor(planet.Environment(f[1]), planet.SessionID(f[2]))
	case "r":
		h = ReceiptFor(planet.Environment(f[1]), planet.SessionID(f[2]), f[3])
	case "d":
		h = Hint{Kind: DevicesChanged, Environment: planet.Environment(f[1]), User: planet.UserRef{ServiceID: f[2], UserID: f[3]}}
	}
	if !h.valid() {
		return Hint{}, false, errDamaged
	}
	return h, true, nil
}
