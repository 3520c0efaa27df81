package sqldb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

// withdrawBatch is how many deliveries are withdrawn in one transaction.
const withdrawBatch = 500

const invitationColumns = `environment, session_id, service_id, room_id, user_service, user_id, at, deadline`

func invitationFields(i *room.Invitation) []any {
	return []any{
		&i.Run.Environment, &i.Run.SessionID, &i.Room.ServiceID, &i.Room.RoomID, &i.User.ServiceID, &i.User.UserID,
		At{&i.At},
		At{&i.Deadline},
	}
}

// Invite implements room.Store.
func (s *Store) Invite(ctx context.Context, i room.Invitation) (room.Invitation, bool, error) {
	key := []any{
		string(i.Run.Environment), string(i.Run.SessionID), i.Room.ServiceID, i.Room.RoomID, i.User.ServiceID, i.User.UserID,
	}
	var counts room.Invitation
	var fresh bool
	err := s.Write(ctx, "invite a user", func(l Tx) error {
		var earlier room.Invitation
		if err := l.Lock("invitation", string(i.Run.SessionID), i.Room.RoomID, i.User.UserID); err != nil {
			return err
		}
		_, err := l.One(`SELECT `+invitationColumns+` FROM room_invitations
			WHERE environment = ? AND session_id = ? AND service_id = ? AND room_id = ? AND user_service = ? AND user_id = ?`,
			Into(invitationFields(&earlier)), key...)
		if err != nil {
			return fmt.Errorf("look for an earlier invitation: %w", err)
		}
		if earlier.Deadline.After(i.At) {
			counts, fresh = earlier, false
			return nil
		}
		counts, fresh = i, true
		_, err = l.Exec(`INSERT INTO room_invitations (`+invitationColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (session_id, environment, service_id, room_id, user_id, user_service)
			DO UPDATE SET at = excluded.at, deadline = excluded.deadline`,
			append(key[:len(key):len(key)], Micros(i.At), Micros(i.Deadline))...)
		if err != nil {
			return fmt.Errorf("keep an invitation: %w", err)
		}
		return nil
	})
	if err != nil {
		return room.Invitation{}, false, err
	}
	return counts, fresh, nil
}

// InvitationsOf implements room.Store.
func (s *Store) InvitationsOf(ctx context.Context, run room.RunKey, now time.Time, limit int) (found []room.Invitation, err error) {
	err = s.List(ctx, func(l Tx) error {
		return l.Each(`SELECT `+invitationColumns+` FROM room_invitations
			WHERE session_id = ? AND environment = ? AND deadline > ? ORDER BY user_id LIMIT ?`, func(row Scanner) error {
			var i room.Invitation
			err := row.Scan(invitationFields(&i)...)
			found = append(found, i)
			return err
		}, string(run.SessionID), string(run.Environment), Micros(now), max(limit, 0))
	})
	if err != nil {
		return nil, fmt.Errorf("list the invitations to %s: %w", run.SessionID, err)
	}
	return found, nil
}

// WithdrawNotices implements room.Store. What is to be withdrawn is read before the writer's
// turn: mostly, everything was sent long ago.
func (s *Store) WithdrawNotices(ctx context.Context, environment planet.Environment, notices []planet.SessionID, now time.Time) error {
	var open []string
	err := s.Read(ctx, func(l Tx) error {
		for _, notice := range notices {
			err := l.Each(`SELECT d.id FROM calls c JOIN deliveries d ON d.call_id = c.id
				WHERE c.session_id = ? AND c.environment = ? AND c.state = 'notice' AND d.state IN ('pending', 'sending')`, func(row Scanner) error {
				var id string
				err := row.Scan(&id)
				open = append(open, id)
				return err
			}, string(notice), string(environment))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for what is to be withdrawn of notices: %w", err)
	}
	for batch := range slices.Chunk(open, withdrawBatch) {
		err := s.Write(ctx, "withdraw notices", func(l Tx) error {
			for _, id := range batch {
				_, err := l.Exec(`UPDATE deliveries SET state = 'withdrawn', lease_owner = '', lease_until = 0, updated_at = ?
					WHERE id = ? AND state IN ('pending', 'sending')`, Micros(now), id)
				if err != nil {
					return fmt.Errorf("withdraw the delivery of a notice: %w", err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// PruneInvitations implements room.Store.
func (s *Store) PruneInvitations(ctx context.Context, before time.Time, limit int) (int, error) {
	var pruned int64
	err := s.Write(ctx, "forget old invitations", func(l Tx) (err error) {
		pruned, err = l.Exec(`DELETE FROM room_invitations WHERE (session_id, environment, service_id, room_id, user_id, user_service) IN (
			SELECT session_id, environment, service_id, room_id, user_id, user_service FROM room_invitations WHERE deadline < ? LIMIT ?)`, Micros(before), max(limit, 0))
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(pruned), nil
}
