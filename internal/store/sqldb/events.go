package sqldb

import (
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// EventRows are events, ready to be inserted into a transaction.
type EventRows [][]any

// NewEventRows copies the events before the writer's turn.
func NewEventRows(events []bell.Event) EventRows {
	var rows EventRows
	for _, e := range events {
		rows = append(rows, []any{e.ID, string(e.Type), e.Project, e.Subject, Micros(e.At), string(e.Data)})
	}
	return rows
}

// Insert drops an event that is known by its ID.
func (rows EventRows) Insert(l Tx) error {
	for _, row := range rows {
		_, err := l.Exec(`INSERT INTO events (id, type, project, subject, at, data)
			VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`, row...)
		if err != nil {
			return fmt.Errorf("record an event for the customer's systems: %w", err)
		}
	}
	return nil
}

// told reports whether anybody can want events that are made here. Without it, nothing more
// is asked of the database than before.
func (s *Store) told() bool { return s.Events != nil }

// wanted reports whether a project wants to be told of a type.
func (s *Store) wanted(project string, t bell.EventType) bool {
	return s.Events != nil && s.Events(project).Has(t)
}

// FailedEvents are those of a new call's deliveries for which there was no room.
func (s *Store) FailedEvents(c *bell.Call, deliveries []bell.Delivery) []bell.Event {
	if !s.wanted(c.Project, bell.EventDeliveryFailed) {
		return nil
	}
	var events []bell.Event
	for i := range deliveries {
		if HasFailed(deliveries[i].State) {
			events = append(events, bell.DeliveryFailedEvent(c, &deliveries[i]))
		}
	}
	return events
}

// HasFailed reports whether a delivery ended without its device.
func HasFailed(state bell.DeliveryState) bool {
	return state == bell.DeliveryFailed || state == bell.DeliveryExpired
}

// tellFailed records the event of a delivery that has just ended failed or expired.
func (s *Store) tellFailed(l Tx, id string) error {
	if !s.told() {
		return nil
	}
	var c bell.Call
	var d bell.Delivery
	found, err := l.One(`SELECT `+CallColumns+`, `+DeliveryColumns+` FROM deliveries d JOIN calls c ON c.id = d.call_id WHERE d.id = ?`,
		Into(append(CallFields(&c), DeliveryFields(&d)...)), id)
	switch {
	case err != nil:
		return fmt.Errorf("look up a delivery that failed: %w", err)
	case !found || !HasFailed(d.State) || !s.wanted(c.Project, bell.EventDeliveryFailed):
		return nil
	}
	return NewEventRows([]bell.Event{bell.DeliveryFailedEvent(&c, &d)}).Insert(l)
}

// tellRemoved records the events of devices that are about to be deleted: those that where, a
// constant text, selects from "devices v".
func (s *Store) tellRemoved(l Tx, why bell.Removal, where string, args ...any) error {
	if !s.told() {
		return nil
	}
	var devices []bell.Device
	err := l.Each(SelectDevice+where+l.ForUpdate("v"), func(row Scanner) error {
		var d bell.Device
		err := row.Scan(DeviceFields(&d)...)
		devices = append(devices, d)
		return err
	}, args...)
	if err != nil {
		return fmt.Errorf("look up devices that are removed: %w", err)
	}
	for i := range devices {
		if err := s.tellDevice(l, &devices[i], why); err != nil {
			return err
		}
	}
	return nil
}

// tellDevice records the event of one device that is removed.
func (s *Store) tellDevice(l Tx, d *bell.Device, why bell.Removal) error {
	if !s.wanted(d.Project, bell.EventDeviceRemoved) {
		return nil
	}
	return NewEventRows([]bell.Event{bell.DeviceRemovedEvent(d, why, time.Now())}).Insert(l)
}
