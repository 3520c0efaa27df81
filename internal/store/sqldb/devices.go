package sqldb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/device"
)

// SelectDevice reads whole devices, as DeviceFields takes them.
const SelectDevice = `SELECT ` + DeviceColumns + ` FROM devices v `

// noDevice is what the operator or a client reads when there is none.
const noDevice = "There is no such device."

const deviceOfSession = SelectDevice + `WHERE v.session_id = ? AND v.session_id <> ''`

const deviceOfClient = SelectDevice + `WHERE v.client_id = ? AND v.client_id <> ''
	AND v.user_id = ? AND v.service_id = ? AND v.environment = ?`

// ChangeDevice implements device.Store.
func (s *Store) ChangeDevice(ctx context.Context, key device.Key, change func(device.Known) (bell.Device, error)) (bell.Device, error) {
	var written bell.Device
	err := s.Write(ctx, "change a device", func(l Tx) error {
		if err := lockOwner(l, key.Owner); err != nil { // two that register at once would take each other's rows
			return err
		}
		known, err := knownDevices(l, key)
		if err != nil {
			return err
		}
		var ids []string
		for _, d := range []*bell.Device{known.OfSession, known.OfClient} {
			if d != nil {
				ids = append(ids, d.ID)
			}
		}
		next, err := change(known)
		if err != nil {
			return Unchanged{err}
		}
		for _, id := range ids {
			if id == next.ID {
				continue
			}
			if err := s.tellRemoved(l, bell.RemovedReplaced, `WHERE v.id = ?`, id); err != nil {
				return err
			}
			if _, err := l.Exec(`DELETE FROM devices WHERE id = ?`, id); err != nil {
				return fmt.Errorf("replace a device: %w", err)
			}
		}
		written = next
		return s.writeDevice(l, next, orReplace)
	})
	if err != nil {
		return bell.Device{}, err // not written: the closure may still be at work on it
	}
	return kept(written), nil
}

// knownDevices reads what a key finds.
func knownDevices(l Tx, key device.Key) (device.Known, error) {
	var known device.Known
	if key.SessionID != "" { // operators' devices have no session, and are nobody's current one
		d := new(bell.Device)
		found, err := l.One(deviceOfSession+l.ForUpdate("v"), Into(DeviceFields(d)), key.SessionID)
		if err != nil {
			return known, fmt.Errorf("read the device of a session: %w", err)
		}
		if found {
			known.OfSession = d
		}
	}
	if key.ClientID != "" {
		d := new(bell.Device)
		o := key.Owner
		found, err := l.One(deviceOfClient+l.ForUpdate("v"), Into(DeviceFields(d)), key.ClientID, o.User.UserID, o.User.ServiceID, string(o.Environment))
		if err != nil {
			return known, fmt.Errorf("read the device that a client names: %w", err)
		}
		if found && (known.OfSession == nil || known.OfSession.ID != d.ID) {
			known.OfClient = d
		}
	}
	return known, nil
}

// AmendDevice implements device.Store.
func (s *Store) AmendDevice(ctx context.Context, id string, change func(bell.Device) (bell.Device, bool)) error {
	return s.Write(ctx, "amend a device", func(l Tx) error {
		var current bell.Device
		found, err := l.One(SelectDevice+`WHERE v.id = ?`+l.ForUpdate("v"), Into(DeviceFields(&current)), id)
		if err := Must(found, err, noDevice); err != nil {
			return Refuse(err)
		}
		next, write := change(current)
		if !write {
			return nil
		}
		if next.PushToken != current.PushToken || next.AlertToken != current.AlertToken || next.PushKeys != current.PushKeys {
			l.Erased()
		}
		if current.PushToken != "" && next.PushToken == "" && !next.ForgottenAt.IsZero() {
			if err := s.tellDevice(l, &next, bell.RemovedDead); err != nil {
				return err
			}
		}
		return s.writeDevice(l, next, orReplace)
	})
}

// PruneDevices implements device.Store.
func (s *Store) PruneDevices(ctx context.Context, unseenSince time.Time, limit int) ([]bell.Device, error) {
	var removed []bell.Device
	err := s.Write(ctx, "prune devices", func(l Tx) error {
		removed = nil
		err := l.Each(SelectDevice+`WHERE v.last_seen_at < ? AND v.session_id <> '' ORDER BY v.last_seen_at LIMIT ?`+l.SkipLocked("v"),
			func(row Scanner) error {
				var d bell.Device
				err := row.Scan(DeviceFields(&d)...)
				removed = append(removed, d)
				return err
			}, Micros(unseenSince), max(limit, 0))
		if err != nil {
			return fmt.Errorf("look for devices without contact: %w", err)
		}
		for i := range removed {
			if _, err := l.Exec(`DELETE FROM devices WHERE id = ?`, removed[i].ID); err != nil {
				return fmt.Errorf("remove a device without contact: %w", err)
			}
			if err := s.tellDevice(l, &removed[i], bell.RemovedUnseen); err != nil {
				return err
			}
			l.Erased()
		}
		return nil
	})
	if err != nil {
		return nil, err // removed is not even looked at: the closure may still be at work on it
	}
	return removed, nil
}

// AddDevice implements device.Store.
func (s *Store) AddDevice(ctx context.Context, d bell.Device) error {
	return s.Write(ctx, "add a device", func(l Tx) error { return s.writeDevice(l, d, "") })
}

// writeDevice writes a device and takes its push tokens away from any other.
func (s *Store) writeDevice(l Tx, d bell.Device, conflict string) error {
	o := d.Owner
	if d.PushToken != "" {
		err := s.tellRemoved(l, bell.RemovedMoved, `WHERE v.push_token = ? AND v.push_token <> ''
			AND v.channel = ? AND v.service_id = ? AND v.environment = ? AND v.id <> ?`,
			d.PushToken.Reveal(), string(d.Channel), o.User.ServiceID, string(o.Environment), d.ID)
		if err != nil {
			return err
		}
		_, err = l.Exec(`DELETE FROM devices WHERE push_token = ? AND push_token <> ''
			AND channel = ? AND service_id = ? AND environment = ? AND id <> ?`,
			d.PushToken.Reveal(), string(d.Channel), o.User.ServiceID, string(o.Environment), d.ID)
		if err != nil {
			return fmt.Errorf("move a push token: %w", err)
		}
	}
	if d.AlertToken != "" {
		_, err := l.Exec(`UPDATE devices SET alert_token = '' WHERE alert_token = ? AND alert_token <> ''
			AND service_id = ? AND environment = ? AND id <> ?`,
			d.AlertToken.Reveal(), o.User.ServiceID, string(o.Environment), d.ID)
		if err != nil {
			return fmt.Errorf("move a push token for alerts: %w", err)
		}
	}
	_, err := l.Exec(`INSERT INTO devices (id, environment, service_id, user_id, project, session_id, app_type, app_version,
		app_id, channel, push_token, apns_server, apns_server_guessed, registered_at, last_seen_at, expires_at,
		client_id, apns_server_confirmed, strikes, struck_at, suspended_until, suspended_for, forgotten_at, forgotten_for, alert_token, notices, push_keys)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`+conflict,
		d.ID, string(o.Environment), o.User.ServiceID, o.User.UserID, d.Project, d.SessionID, d.AppType, d.AppVersion,
		d.AppID, string(d.Channel), d.PushToken.Reveal(), string(d.APNsServer), d.APNsServerGuessed,
		Micros(d.RegisteredAt), Micros(d.LastSeenAt), Micros(d.ExpiresAt),
		d.ClientID, d.APNsServerConfirmed, d.Strikes, Micros(d.StruckAt), Micros(d.SuspendedUntil), d.SuspendedFor,
		Micros(d.ForgottenAt), d.ForgottenFor, d.AlertToken.Reveal(), d.Notices, d.PushKeys.Reveal())
	if err != nil {
		return fmt.Errorf("write a device: %w", err)
	}
	return nil
}

const orReplace = ` ON CONFLICT (id) DO UPDATE SET environment = excluded.environment, service_id = excluded.service_id, user_id = excluded.user_id, project = excluded.project, session_id = excluded.session_id,
	app_type = excluded.app_type, app_version = excluded.app_version, app_id = excluded.app_id, channel = excluded.channel, push_token = excluded.push_token,
	apns_server = excluded.apns_server, apns_server_guessed = excluded.apns_server_guessed, registered_at = excluded.registered_at, last_seen_at = excluded.last_seen_at, expires_at = excluded.expires_at,
	client_id = excluded.client_id, apns_server_confirmed = excluded.apns_server_confirmed, strikes = excluded.strikes, struck_at = excluded.struck_at, suspended_until = excluded.suspended_until,
	suspended_for = excluded.suspended_for, forgotten_at = excluded.forgotten_at, forgotten_for = excluded.forgotten_for, alert_token = excluded.alert_token, notices = excluded.notices, push_keys = excluded.push_keys`

// kept returns the device as it will be read again: times in microseconds, UTC.
func kept(d bell.Device) bell.Device {
	for _, t := range []*time.Time{&d.RegisteredAt, &d.LastSeenAt, &d.ExpiresAt, &d.StruckAt, &d.SuspendedUntil, &d.ForgottenAt} {
		*t = FromMicros(Micros(*t))
	}
	return d
}

// RemoveDevice implements device.Store.
func (s *Store) RemoveDevice(ctx context.Context, id string) error {
	return s.Write(ctx, "remove a device", func(l Tx) error {
		if err := s.tellRemoved(l, bell.RemovedOnRequest, `WHERE v.id = ?`, id); err != nil {
			return err
		}
		n, err := l.Exec(`DELETE FROM devices WHERE id = ?`, id)
		l.Erased()
		return Refuse(Must(n > 0, err, noDevice))
	})
}

// Device implements device.Store.
func (s *Store) Device(ctx context.Context, id string) (bell.Device, error) {
	return s.oneDevice(ctx, SelectDevice+`WHERE v.id = ?`, id)
}

// DeviceBySession implements device.Store.
func (s *Store) DeviceBySession(ctx context.Context, sessionID string) (bell.Device, error) {
	return s.oneDevice(ctx, deviceOfSession, sessionID)
}

func (s *Store) oneDevice(ctx context.Context, query, key string) (d bell.Device, err error) {
	err = s.Read(ctx, func(l Tx) error {
		found, err := l.One(query, Into(DeviceFields(&d)), key)
		return Must(found, err, noDevice)
	})
	return d, err
}

// DevicesOf implements device.Store and call.Store. The IDs are time-ordered, so their
// order is that of age.
func (s *Store) DevicesOf(ctx context.Context, owner bell.Owner) ([]bell.Device, error) {
	return deviceList(ctx, s.Read, SelectDevice+`WHERE v.environment = ? AND v.service_id = ? AND v.user_id = ? ORDER BY v.id`,
		string(owner.Environment), owner.User.ServiceID, owner.User.UserID)
}

// Devices implements device.Store. It may read all devices to find few.
func (s *Store) Devices(ctx context.Context, f device.Filter, after string, limit int) ([]bell.Device, error) {
	where := Conditions{}
	where.add(`v.id > ?`, after)
	where.addText(`v.environment = ?`, f.Environment)
	where.addText(`v.service_id = ?`, f.ServiceID)
	where.addText(`v.user_id = ?`, f.UserID)
	where.addText(`v.channel = ?`, string(f.Channel))
	return deviceList(ctx, s.List, SelectDevice+where.clause()+` ORDER BY v.id LIMIT ?`, append(where.args, max(limit, 0))...)
}

func deviceList(ctx context.Context, read func(context.Context, func(Tx) error) error, query string, args ...any) ([]bell.Device, error) {
	var devices []bell.Device
	err := read(ctx, func(l Tx) error {
		return l.Each(query, func(row Scanner) error {
			var d bell.Device
			err := row.Scan(DeviceFields(&d)...)
			devices = append(devices, d)
			return err
		}, args...)
	})
	if err != nil {
		return nil, err
	}
	return devices, nil
}

// Conditions collects a WHERE clause of constant texts with bound values.
type Conditions struct {
	terms []string
	args  []any
}

func (c *Conditions) add(term string, args ...any) {
	c.terms = append(c.terms, term)
	c.args = append(c.args, args...)
}

// addText adds a condition unless its value is empty, which matches everything.
func (c *Conditions) addText(term, value string) {
	if value != "" {
		c.add(term, value)
	}
}

func (c *Conditions) clause() string {
	if len(c.terms) == 0 {
		return ""
	}
	return `WHERE ` + strings.Join(c.terms, ` AND `)
}
