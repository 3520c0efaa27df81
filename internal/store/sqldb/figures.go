package sqldb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// Tally implements call.Figures. It walks the index of places, newest first, and no further
// than it may.
func (s *Store) Tally(ctx context.Context, since time.Time, most int) (minutes []call.Minute, more bool, err error) {
	type key struct {
		minute  int64
		state   bell.CallState
		outcome planet.Outcome
	}
	counted, seen := map[key]int{}, 0
	err = s.List(ctx, func(l Tx) error {
		clear(counted)
		seen = 0
		return l.Each(`SELECT c.at, c.state, c.outcome FROM calls c WHERE c.at >= ? AND c.purpose = ''
			ORDER BY c.at DESC, c.session_id DESC LIMIT ?`, func(row Scanner) error {
			var at int64
			var k key
			if err := row.Scan(&at, &k.state, &k.outcome); err != nil {
				return err
			}
			if seen++; seen > most {
				return nil
			}
			k.minute = at / time.Minute.Microseconds()
			counted[k]++
			return nil
		}, Micros(since), max(most, 0)+1)
	})
	if err != nil {
		return nil, false, fmt.Errorf("count calls: %w", err)
	}
	for k, n := range counted {
		minutes = append(minutes, call.Minute{At: FromMicros(k.minute * time.Minute.Microseconds()), State: k.state, Outcome: k.outcome, Calls: n})
	}
	slices.SortFunc(minutes, func(a, b call.Minute) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.State, b.State), cmp.Compare(a.Outcome, b.Outcome))
	})
	return minutes, seen > most, nil
}

// failing walks an index that holds only what failed, by when it began.
const failing = `SELECT c.project, d.channel, coalesce(v.apns_server, ''), d.state, d.reason, d.updated_at,
		c.environment, c.session_id, d.device_id
	FROM deliveries d INDEXED BY deliveries_failed JOIN calls c ON c.id = d.call_id LEFT JOIN devices v ON v.id = d.device_id
	WHERE d.state IN ('failed', 'expired') AND d.created_at >= ? ORDER BY d.created_at DESC LIMIT ?`

// Failing implements call.Figures.
func (s *Store) Failing(ctx context.Context, since time.Time, most int) ([]call.FailingGroup, error) {
	type key struct {
		project string
		channel bell.Channel
		server  bell.APNsServer
		state   bell.DeliveryState
		reason  string
	}
	groups := map[key]*call.FailingGroup{}
	calls := map[key]map[planet.SessionID]bool{}
	err := s.List(ctx, func(l Tx) error {
		clear(groups)
		clear(calls)
		return l.Each(failing, func(row Scanner) error {
			var g call.FailingGroup
			if err := row.Scan(&g.Project, &g.Channel, &g.Server, &g.State, &g.Reason, At{&g.Last}, &g.Environment, &g.SessionID, &g.DeviceID); err != nil {
				return err
			}
			k := key{g.Project, g.Channel, g.Server, g.State, g.Reason}
			if groups[k] == nil {
				groups[k], calls[k] = &g, map[planet.SessionID]bool{}
			}
			known := groups[k]
			known.Count++
			calls[k][g.SessionID] = true
			if g.Last.After(known.Last) { // the example is the one that Last is of
				known.Last, known.Environment, known.SessionID, known.DeviceID = g.Last, g.Environment, g.SessionID, g.DeviceID
			}
			return nil
		}, Micros(since), max(most, 0))
	})
	if err != nil {
		return nil, fmt.Errorf("look for what fails: %w", err)
	}
	list := make([]call.FailingGroup, 0, len(groups))
	for k, g := range groups {
		g.Calls = len(calls[k])
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b call.FailingGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.Last.Compare(a.Last), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Channel, b.Channel))
	})
	return list, nil
}

// Rung implements call.Figures. There is no index of deliveries by device, which every call
// would have to pay for: it goes by the owner's newest calls.
func (s *Store) Rung(ctx context.Context, device bell.Device, most int) (list []call.RungCall, err error) {
	err = s.List(ctx, func(l Tx) error {
		list = nil
		return l.Each(`SELECT `+CallColumns+`, `+DeliveryColumns+` FROM (SELECT c.id FROM calls c
				WHERE c.callee_user = ? AND c.callee_service = ? AND c.environment = ? ORDER BY c.at DESC, c.session_id DESC LIMIT ?) AS newest
			JOIN calls c ON c.id = newest.id JOIN deliveries d ON d.call_id = c.id
			WHERE d.device_id = ? ORDER BY c.at DESC, c.session_id DESC`, func(row Scanner) error {
			var r call.RungCall
			err := row.Scan(append(CallFields(&r.Call), DeliveryFields(&r.Delivery)...)...)
			list = append(list, r)
			return err
		}, device.Owner.User.UserID, device.Owner.User.ServiceID, string(device.Owner.Environment), max(most, 0), device.ID)
	})
	return list, err
}
