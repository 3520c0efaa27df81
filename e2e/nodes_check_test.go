//go:build !race

package e2e

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// settleLimit is how long after the last Call Event everything has to be recorded and told.
	settleLimit = 45 * time.Second
	// lateLimit is how long after its Call Event was answered a call may still come to a device:
	// the node where the device polls, or that pushes, learns of it by a hint, or in its sweep.
	lateLimit = 3 * time.Second
	// leftOpen is for how long what a node did before it was killed may not be on disk. A slow machine
	// takes longer: four times what half of the calls take.
	leftOpen = 500 * time.Millisecond
)

// stamp3 is how times are printed: as in the logs.
const stamp3 = "15:04:05.000"

// faults remembers what was done to the nodes' surroundings and when, because it explains errors.
type faults struct {
	mu    sync.Mutex
	list  []fault
	kills int
}

type fault struct {
	what     string
	node     string // "" is all
	database bool   // the node cannot reach the database; else it is something else
	from, to time.Time
}

// grace is for how long after a fault a node may still be busy with it.
const grace = 8 * time.Second

// during does something that explains errors in the log of a node, or of all, until some
// seconds after it.
func (f *faults) during(known fault, do func()) {
	known.from = time.Now()
	do()
	known.to = time.Now().Add(grace)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, known)
}

// inMemory reports whether the node that took the call, or the one that took its end, may not have
// reached the database then. Such a callback waits in the memory of one node to be recorded
// (docs/adr/0005), and the others do not know of it:
//   - a call that rings from memory is owed to polls only where they poll at that node;
//   - of one that ended at another node meanwhile the record has no deliveries, and no event says that
//     it rang, because its end was recorded first;
//   - if its end is in memory, it may ring for longer;
//   - others may continue what the node rings, so that a device may ring twice.
func (f *faults) inMemory(c *placed) bool {
	return f.away(c.node, c.begun, c.taken) || f.away(c.other, c.ending, c.ended)
}

// away reports whether a node may not have reached the database between two times.
func (f *faults) away(node string, from, to time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.list, func(known fault) bool {
		return known.database && (known.node == "" || known.node == node) && from.Before(known.to) && to.After(known.from)
	})
}

// anywhere reports whether some node may not have reached the database between two times. A Notify that is
// sent again then may ring from two memories, which cannot know of each other.
func (f *faults) anywhere(from, to time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.list, func(known fault) bool { return known.database && from.Before(known.to) && to.After(known.from) })
}

// explain says which fault explains an error, or "".
func (f *faults) explain(e logged) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, known := range f.list {
		if (known.node == "" || known.node == e.node) && !e.Time.Before(known.from.Add(-time.Second)) && e.Time.Before(known.to) {
			return known.what
		}
	}
	return ""
}

// settle waits until every delivery has an end, no secret is kept, and everything is told.
func (n *nodes) settle() {
	n.t.Helper()
	db := n.open()
	defer db.Close()
	n.await("every ring is over and recorded, and no secret is kept", settleLimit, func() (bool, string) {
		var deliveries, secrets int
		err := db.QueryRowContext(n.ctx, `SELECT (SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending')),
			(SELECT count(*) FROM calls WHERE cc_param <> '')`).Scan(&deliveries, &secrets)
		return err == nil && deliveries+secrets == 0, fmt.Sprintf("%d deliveries are open, %d calls have a cc_param, %v", deliveries, secrets, err)
	})
	n.await("all events are told", settleLimit, func() (bool, string) { return n.allTold(db) })
}

// allTold reports whether no event waits to be told, or which has waited longest.
func (n *nodes) allTold(db *sql.DB) (bool, string) {
	var waiting, leases int
	err := db.QueryRowContext(n.ctx, `SELECT (SELECT count(*) FROM events WHERE spread = 0) + count(*),
		COALESCE(sum(CASE lease_owner WHEN '' THEN 0 ELSE 1 END), 0)
		FROM tellings WHERE state IN ('waiting', 'behind')`).Scan(&waiting, &leases)
	if err != nil || waiting == 0 {
		return err == nil, fmt.Sprint(err)
	}
	var owner, subject string
	var due int64
	err = db.QueryRowContext(n.ctx, `SELECT lease_owner, subject, due FROM tellings WHERE state = 'waiting' ORDER BY since LIMIT 1`).Scan(&owner, &subject, &due)
	return false, fmt.Sprintf("%d wait, %d of them are leased; the oldest is of %s, leased by %q until %v (%v)", waiting, leases, subject, owner,
		time.UnixMicro(due).UTC().Format(stamp3), err)
}

// check is the end of every story: nothing that was answered 200 is lost, and the record, the
// devices and the customer's system agree on it.
func (n *nodes) check(l *load) {
	n.t.Helper()
	n.slowMachine(l)
	n.report(l)
	n.checkRecord(l)
	n.checkTold(l)
	n.checkDevices(l)
	n.checkLogs()
}

func (n *nodes) report(l *load) {
	n.t.Helper()
	answered, early := l.answered(), 0
	by := map[string]int{}
	other := 0
	for _, c := range answered {
		by[c.node]++
		if c.early {
			early++
		}
		if c.node != c.other {
			other++
		}
	}
	n.t.Logf("calls: %d at %d a second for %v (%.0f a second were taken), %d answered 200 by %v, %d of them ended early, %d ended at another node",
		len(l.calls), l.rate, l.span, float64(len(answered))/l.span.Seconds(), len(answered), by, early, other)
	n.t.Logf("load balancer: %d connections were refused and %d requests broken, and tried elsewhere; answers other than 200: %v; calls left out: %d",
		n.balancer.refused.Load(), n.balancer.broken.Load(), l.tries, l.skipped.Load())
	if want := int(l.span.Seconds()*float64(l.rate)) / 2; len(answered) < want {
		n.t.Errorf("only %d calls were answered 200; less than half of the rate proves little", len(answered))
	}
	if l.lost > 0 {
		n.t.Errorf("%d Call Events were never answered 200 in %d tries", l.lost, eventTries)
	}
}

// recorded is a call in the database.
type recorded struct {
	state, outcome string
	deliveries     []string
}

// checkRecord: no call that was answered 200 is missing, each has one delivery for each device of
// its callee, every delivery is final, and has a reason if it failed.
func (n *nodes) checkRecord(l *load) {
	n.t.Helper()
	db := n.open()
	defer db.Close()
	record, err := n.readRecord(db)
	if err != nil {
		n.t.Errorf("read the record: %v", err)
		return
	}
	wrong, memory := problems{n: n}, 0
	for _, c := range l.answered() {
		r := record[c.sid]
		outcome := "missed"
		if c.early {
			outcome = "canceled"
		}
		switch {
		case r == nil:
			wrong.add("call %s was answered 200 by %s and is not in the record", c.sid, c.node)
		case len(r.deliveries) == 0 && c.node != c.other && n.faults.inMemory(c):
			memory++
		case len(r.deliveries) != len(c.callee.devices):
			wrong.add("call %s, answered 200 at %s by %s, ended at %s by %s, has %d deliveries, and its callee %d devices", c.sid,
				c.taken.Format(stamp3), c.node, c.ended.Format(stamp3), c.other, len(r.deliveries), len(c.callee.devices))
		case r.state != string(bell.CallEnded) || r.outcome != outcome:
			wrong.add("call %s is recorded as %s, %s, and was %s", c.sid, r.state, r.outcome, outcome)
		}
	}
	n.t.Logf("record: of %d calls that rang from memory the end was recorded first, by another node: they have no deliveries", memory)
	wrong.done()
}

func (n *nodes) readRecord(db *sql.DB) (map[string]*recorded, error) {
	rows, err := db.QueryContext(n.ctx, `SELECT c.session_id, c.state, c.outcome, COALESCE(d.state, ''), COALESCE(d.channel, ''), COALESCE(d.reason, '')
		FROM calls c LEFT JOIN deliveries d ON d.call_id = c.id WHERE c.purpose = ''`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	record, states := map[string]*recorded{}, map[string]int{}
	wrong := problems{n: n}
	for rows.Next() {
		var sid, state, outcome, delivery, channel, reason string
		if err := rows.Scan(&sid, &state, &outcome, &delivery, &channel, &reason); err != nil {
			return nil, err
		}
		if record[sid] == nil {
			record[sid] = &recorded{state: state, outcome: outcome}
		}
		if delivery == "" {
			continue
		}
		record[sid].deliveries = append(record[sid].deliveries, delivery)
		s := bell.DeliveryState(delivery)
		states[strings.TrimSpace(channel+" "+delivery+" "+reason)]++
		switch {
		case !s.Final():
			wrong.add("call %s: a delivery by %s is %s for ever", sid, channel, delivery)
		case reason == "" && (s == bell.DeliveryFailed || s == bell.DeliveryExpired):
			wrong.add("call %s: a delivery by %s is %s, and nobody knows why", sid, channel, delivery)
		}
	}
	n.t.Logf("record: %d calls; deliveries %v", len(record), states)
	wrong.done()
	return record, rows.Err()
}

// told is what the customer's system was told, by session, each event once, in the order in
// which they came first; and how often one came again.
func (n *nodes) told() (events map[string][]told, repeats int) {
	n.backend.mu.Lock()
	defer n.backend.mu.Unlock()
	events, seen := map[string][]told{}, map[string]bool{}
	for _, e := range n.backend.got {
		if seen[e.ID] {
			repeats++
			continue
		}
		seen[e.ID] = true
		events[e.Data.SID] = append(events[e.Data.SID], e)
	}
	return events, repeats
}

// checkTold: of each call it was told once that it rings, that it ended, and that it was
// missed, in this order.
func (n *nodes) checkTold(l *load) {
	n.t.Helper()
	events, repeats := n.told()
	wrong := problems{n: n}
	calls := 0
	for _, c := range l.answered() {
		if c.callee.project.Hook == "" {
			continue
		}
		calls++
		// That a device could not be rung is told at any time.
		failed := func(e told) bool { return e.Type == string(bell.EventDeliveryFailed) }
		got := types(slices.DeleteFunc(events[c.sid], failed))
		if got != wholeMissed && (got != "call.ended call.missed" || !n.faults.inMemory(c)) {
			wrong.add("call %s is told as %q", c.sid, got)
		}
	}
	wrong.done()
	n.t.Logf("events: %d calls were told, %d events came again", calls, repeats)
	// An event that was taken and whose being told was not recorded comes again: what a node has
	// under way when it is killed, or when it loses the database.
	cut := 0
	for _, f := range n.faults.list {
		if f.database {
			cut++
		}
	}
	if most := (n.faults.kills + cut) * 64; repeats > most {
		n.t.Errorf("%d events came again, at most %d are explained by %d kills and %d losses of the database with 64 under way", repeats, most, n.faults.kills, cut)
	}
}

// tally is what the devices of one way got.
type tally struct {
	calls, got, times int
	endedFirst        int // not got, because the call had ended
	unknown           int // owed, not got, and known to a node only that was cut from the database
	took              []time.Duration
	mayRepeat         int // calls of which a fault explains that they come twice
}

// at is how long a share of the calls took, at most.
func (t *tally) at(share float64) time.Duration {
	slices.Sort(t.took)
	if len(t.took) == 0 {
		return 0
	}
	return t.took[int(share*float64(len(t.took)-1))].Round(time.Millisecond)
}

func (t *tally) String() string {
	return fmt.Sprintf("%d calls, %d got, %d ended first, %d known to a cut node only; %d repeats (%.2f %%); after Notify's first try: half within %v, 99 %% %v, 99.9 %% %v, all %v",
		t.calls, t.got, t.endedFirst, t.unknown, t.times-t.got, 100*float64(t.times-t.got)/max(1, float64(t.got)), t.at(0.5), t.at(0.99), t.at(0.999), t.at(1))
}

// checkDevices holds the rule of what a device must get.
//
// A call that was answered 200 is owed to each device of its callee if its Call Event was not
// sent within the window, which is ring_time without safety: then the device must have got it
// before the window was over. If the Call Event came sooner, the call may be got, or not; but
// not for the first time more than lateLimit after the Call Event was answered.
//
// What may come twice is what a killed node had done and not recorded: at most what one node
// does in leftOpen, for each kill; and what faults.inMemory says. To a poll that
// acknowledges a call comes again also if its receipt was refused, or lost with a connection. A
// push that is repeated has the same apns-id.
func (n *nodes) checkDevices(l *load) {
	n.t.Helper()
	l.fleet.collect()
	ways := map[string]*tally{}
	wrong := problems{n: n}
	for _, c := range l.answered() {
		for _, d := range c.callee.devices {
			t := ways[d.way]
			if t == nil {
				t = &tally{}
				ways[d.way] = t
			}
			n.checkOne(&wrong, t, c, d)
		}
	}
	wrong.done()
	n.reportDevices(l, ways)
}

func (n *nodes) checkOne(wrong *problems, t *tally, c *placed, d *reached) {
	t.calls++
	memory := n.faults.inMemory(c)
	if memory || n.faults.away(c.node, c.begun.Add(-nodesWindow), c.begun) || n.faults.away(c.node, c.begun, c.ending) {
		t.mayRepeat++ // what rings on a node that is cut off is continued by others
	}
	g := d.got[c.param]
	if g == nil {
		if c.owed() && memory && d.phone != nil {
			t.unknown++
			return
		}
		if c.owed() {
			wrong.add("call %s, answered 200 at %s by %s, never came by %s", c.sid, c.taken.Format(stamp3), c.node, d.way)
		}
		t.endedFirst++
		return
	}
	t.got++
	t.times += g.times
	t.took = append(t.took, g.first.Sub(c.begun))
	// What was sent before the window's end may be on its way.
	if late := g.first.Sub(c.taken) - nodesWindow; late > lateLimit {
		wrong.add("call %s came by %s %v after its window", c.sid, d.way, late)
	}
	if !c.ended.IsZero() && g.first.Sub(c.ended) > lateLimit && !memory {
		wrong.add("call %s, answered 200 at %s by %s, came by %s at %s, %v after its end was answered by %s", c.sid,
			c.taken.Format(stamp3), c.node, d.way, g.first.Format(stamp3), g.first.Sub(c.ended), c.other)
	}
	if len(g.ids) > 1 && !n.faults.anywhere(c.begun, c.taken) {
		wrong.add("call %s was pushed under %d IDs", c.sid, len(g.ids))
	}
}

func (n *nodes) reportDevices(l *load, ways map[string]*tally) {
	n.t.Helper()
	for _, way := range []string{byAPNs, byFCM, plainPoll, ackPoll, byStream} {
		t := ways[way]
		if t == nil {
			continue
		}
		again, most := t.times-t.got, n.mostRepeats(l, t)
		if way == ackPoll || way == byStream { // such a phone recognises what it had
			repeats, refused := l.fleet.repeats(way, t.got)
			again, most = repeats, most+refused
			t.times += repeats
			n.t.Logf("%s: %d receipts were refused or lost with their connection", way, refused)
		}
		n.t.Logf("%s: %s", way, t)
		if again > most {
			n.t.Errorf("%s: %d calls came again, at most %d are explained", way, again, most)
		}
	}
}

// mostRepeats is the bound that checkDevices states. One call of a thousand is for what is
// rare: a push is sent again on another connection when the answer is slow.
func (n *nodes) mostRepeats(l *load, t *tally) int {
	perSecond := float64(t.calls) / l.span.Seconds() / float64(len(n.list))
	open := max(leftOpen, 4*t.at(0.5)).Seconds()
	return int(float64(n.faults.kills)*(1+perSecond*open)) + t.calls/1000 + t.mayRepeat
}

// slowMachine takes what the nodes themselves said of their database for faults: machines on which
// tests run are slow at times. It must not be the rule.
func (n *nodes) slowMachine(l *load) {
	n.t.Helper()
	caused, took := slices.Clone(n.faults.list), time.Duration(0)
	for _, d := range n.list {
		d.log.mu.Lock()
		for _, sick := range d.log.sick {
			known := slices.ContainsFunc(caused, func(f fault) bool {
				return f.database && (f.node == "" || f.node == d.name) && sick.from.Before(f.to) && sick.to.After(f.from)
			})
			n.faults.list = append(n.faults.list, sick)
			if !known {
				took += sick.to.Sub(sick.from) - grace
				n.t.Logf("%s had a slow database from %s to %s", d.name, sick.from.Format(stamp3), sick.to.Add(-grace).Format(stamp3))
			}
		}
		d.log.mu.Unlock()
	}
	if most := l.span * time.Duration(len(n.list)) / 2; took > most {
		n.t.Errorf("the nodes had slow databases for %v in all, more than half of the time: there is too much load for this machine, and this proves little", took)
	}
}

// saysBusy: what was asked could not be done in time, and whoever asked was told so.
func saysBusy(text string) bool {
	return strings.Contains(text, "The database took too long") || strings.Contains(text, "Too many writes wait for the database")
}

// checkLogs: no node logs an error that the faults do not explain, and none ever says that
// something is lost.
func (n *nodes) checkLogs() {
	n.t.Helper()
	wrong := problems{n: n}
	explained := map[string]int{}
	for _, d := range n.list {
		d.log.mu.Lock()
		for _, e := range d.log.errors {
			why := n.faults.explain(e)
			if why == "" && e.Msg == "request" && saysBusy(e.Error) {
				why = "a slow machine" // a single one: the client was told, and asks again
			}
			if why == "" || unforgivable(e) {
				wrong.add("an error that nothing explains: %s", e)
				continue
			}
			explained[why+": "+e.Msg]++
		}
		n.t.Logf("%s logged %d lines; warnings: %v", d.name, d.log.lines, d.log.warned)
		d.log.mu.Unlock()
	}
	n.t.Logf("errors that are explained: %v", explained)
	wrong.done()
}

// unforgivable errors are explained by nothing.
func unforgivable(e logged) bool {
	if strings.HasPrefix(e.Msg, "nothing can be written") { // whoever wrote knows it
		return false
	}
	return strings.Contains(e.Msg, " lost") || strings.Contains(e.Msg, "given up") || strings.Contains(e.Msg, "panic") || strings.HasPrefix(e.Msg, "not a log line")
}

// problems reports some of many.
type problems struct {
	n     *nodes
	count int
}

func (p *problems) add(format string, args ...any) {
	p.count++
	if p.count <= 8 {
		p.n.t.Errorf(format, args...)
	}
}

func (p *problems) done() {
	if p.count > 8 {
		p.n.t.Errorf("and %d more of these", p.count-8)
	}
}
