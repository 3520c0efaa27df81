package planet

import (
	"maps"
	"slices"
	"strings"
)

// The bounds of an app's own keys in a notification: with them, what LINE's clients need
// still fits into every provider's 4 KB.
const (
	MaxAppFields   = 16   // keys
	MaxAppFieldKey = 64   // bytes of a key, "app_" among them
	MaxAppFieldSum = 2048 // bytes of all keys and values together

	appPrefix = "app_"
)

// reserved are the keys that an app's own must not be: all that this package writes, and
// "app_alert", which LINE's old sample gives a meaning.
var reserved = []string{
	keyCCParam, keyCallerService, keyCallerUser, keyCalleeService, keyCalleeUser, keyCallType,
	keyEnvironment, keySTID, keyAppServerData, keySessionID, keyCallerName, keySentAt, keyExpiresAt,
	keyEvent, keyCalledAt, keyCallSession, keyRoomService, keyRoomID, "app_alert",
}

// ValidAppField reports whether key can be an app's own in a notification: "app_" and then
// lower-case letters, digits and underscores, at most [MaxAppFieldKey] bytes in all, and
// none of the protocol's.
func ValidAppField(key string) bool {
	name, ok := strings.CutPrefix(key, appPrefix)
	if !ok || name == "" || len(key) > MaxAppFieldKey || slices.Contains(reserved, key) {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// AppFields returns what may be sent of an app's own keys: the valid ones that have a
// value, in alphabetical order as long as they stay within the bounds. A value that is not
// UTF-8 gets U+FFFD. nil when there is none.
func AppFields(fields map[string]string) map[string]string {
	if len(fields) == 0 {
		return nil
	}
	var kept map[string]string
	left := MaxAppFieldSum
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		value := strings.ToValidUTF8(fields[key], "\uFFFD")
		size := len(key) + len(value)
		if value == "" || !ValidAppField(key) || size > left {
			continue
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[key] = value
		if left -= size; len(kept) == MaxAppFields {
			break
		}
	}
	return kept
}

// addAppFields puts an app's own keys among the others.
func addAppFields(fields, own map[string]string) {
	for key, value := range AppFields(own) {
		fields[key] = value
	}
}

// fit leaves keys out of fields until size is at most limit: first the app's own, from the
// end of the alphabet, then droppable, in order.
func fit(fields map[string]string, droppable []string, limit int, size func(map[string]string) int) (got int) {
	if size == nil {
		size = plainSize
	}
	got = size(fields)
	drop := func(key string) {
		if _, ok := fields[key]; ok && got > limit {
			delete(fields, key)
			got = size(fields)
		}
	}
	if got <= limit {
		return got
	}
	var own []string
	for key := range fields {
		if ValidAppField(key) {
			own = append(own, key)
		}
	}
	slices.Sort(own)
	for _, key := range slices.Backward(own) {
		drop(key)
	}
	for _, key := range droppable {
		drop(key)
	}
	return got
}
