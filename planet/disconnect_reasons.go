package planet

// Who can be the source of a disconnect reason.
const (
	anyone        = "anyone"
	anyClient     = "any client"
	cloud         = "Planet Cloud"
	callingClient = "caller or participant"
)

// disconnectReasons are the current numbers (PlanetKit 5.1 and later, 5.2 for Web).
// 1506 to 1510 arise before Planet Cloud knows of the call, so callbacks hardly have
// them. The numbers from 1601 are those of PlanetKit for Web.
// Source: https://docs.lineplanet.me/help/troubleshooting/troubleshooting-disconnect-reason
var disconnectReasons = map[int]ReasonInfo{
	1001: {Name: "NORMAL", Where: AllCalls, Source: "caller, callee or participant", Meaning: "ended without an error"},
	1002: {
		Name: "DECLINE", Where: AllCalls, Source: "callee or Planet Cloud",
		Meaning: "the callee refused; in a group call, the user's earlier presence was dropped on joining again",
	},
	1003: {Name: "CELL_CALL", Where: AllCalls, Source: anyClient, Meaning: "a cellular call came in"},
	1109: {Name: "INTERNAL_ERROR", Where: AllCalls, Source: anyone, Meaning: "an internal error"},
	1110: {
		Name: "USER_ERROR", Where: AllCalls, Source: "caller, callee or app server",
		Meaning: "the application's own reason, see the user release code; in a group call also a kick-out by the app server",
	},
	1111: {Name: "INTERNAL_KIT_ERROR", Where: AllCalls, Source: anyClient, Meaning: "an error that depends on the client's system"},
	1112: {Name: "AUDIO_TX_NO_SRC", Where: AllCalls, Source: anyClient, Meaning: "the microphone gave no data for a while"},

	1201: {Name: "CANCEL", Where: OneToOneCalls, Source: "caller", Meaning: "the caller hung up before the answer"},
	1202: {Name: "BUSY", Where: OneToOneCalls, Source: "callee", Meaning: "the callee was in a call"},
	1203: {Name: "NOANSWER", Where: OneToOneCalls, Source: "caller", Meaning: "nobody answered within 60 seconds"},
	1204: {Name: "ALREADY_GOT_A_CALL", Where: AllCalls, Source: cloud, Meaning: "another call was already coming in for the callee"},
	1205: {Name: "MULTIDEV_IN_USE", Where: AllCalls, Source: cloud, Meaning: "the same user was in a call on another device"},
	1206: {Name: "MULTIDEV_ANSWER", Where: OneToOneCalls, Source: cloud, Meaning: "another device of the callee answered"},
	1207: {Name: "MULTIDEV_DECLINE", Where: OneToOneCalls, Source: cloud, Meaning: "another device of the callee refused"},
	1208: {Name: "MAX_CALL_TIME_EXCEEDED", Where: AllCalls, Source: cloud, Meaning: "the longest allowed call time was over"},

	1301: {Name: "NETWORK_UNSTABLE", Where: AllCalls, Source: anyone, Meaning: "the network could not keep the call"},
	1302: {
		Name: "PUSH_ERROR", Where: OneToOneCalls, Source: cloud,
		Meaning: "the app server could not be called, or answered Notify with a failure",
	},
	1303: {Name: "AUTH_ERROR", Where: AllCalls, Source: cloud, Meaning: "authentication failed"},
	1304: {Name: "RELEASED_CALL", Where: AllCalls, Source: cloud, Meaning: "the call was already over, for example because the push came late"},
	1305: {Name: "SERVER_INTERNAL_ERROR", Where: AllCalls, Source: cloud, Meaning: "something went wrong inside Planet Cloud"},
	1308: {Name: "UNAVAILABLE_NETWORK", Where: AllCalls, Source: anyClient, Meaning: "the client had no network"},
	1309: {Name: "APP_DESTROY", Where: AllCalls, Source: anyClient, Meaning: "the app or the device was shut down"},
	1310: {Name: "SYSTEM_SLEEP", Where: AllCalls, Source: anyClient, Meaning: "the client's system went to sleep"},
	1311: {Name: "SYSTEM_LOGOFF", Where: AllCalls, Source: anyClient, Meaning: "the user logged off from the client's system"},
	1312: {Name: "MTU_EXCEEDED", Where: AllCalls, Source: anyClient, Meaning: "a packet was larger than the network takes"},
	1313: {
		Name: "APP_SERVER_DATA_ERROR", Where: AllCalls, Source: cloud,
		Meaning: "Planet Cloud could not hand the app server data to the app server",
	},
	1314: {Name: "DESKTOP_SCREEN_LOCKED", Where: AllCalls, Source: anyClient, Meaning: "the screen was locked"},

	1401: {Name: "ROOM_IS_FULL", Where: GroupCalls, Source: cloud, Meaning: "the room was full"},
	1402: {Name: "ALONE_KICK_OUT", Where: GroupCalls, Source: cloud, Meaning: "alone in the room for too long"},
	1404: {Name: "ROOM_NOT_FOUND", Where: GroupCalls, Source: cloud, Meaning: "everyone had left the room while joining"},
	1405: {
		Name: "ANOTHER_INSTANCE_TRY_TO_JOIN", Where: GroupCalls, Source: "participant",
		Meaning: "the same user joined from another instance",
	},

	1501: {Name: "SERVICE_ACCESS_TOKEN_ERROR", Where: AllCalls, Source: cloud, Meaning: "the access token was not accepted"},
	1502: {Name: "SERVICE_INVALID_ID", Where: AllCalls, Source: cloud, Meaning: "an ID had a forbidden character"},
	1503: {Name: "SERVICE_MAINTENANCE", Where: AllCalls, Source: cloud, Meaning: "LINE Planet was under maintenance"},
	1504: {Name: "SERVICE_BUSY", Where: AllCalls, Source: cloud, Meaning: "LINE Planet was busy"},
	1505: {Name: "SERVICE_INTERNAL_ERROR", Where: AllCalls, Source: cloud, Meaning: "something went wrong inside LINE Planet's service"},
	1506: {Name: "SERVICE_HTTP_ERROR", Where: AllCalls, Source: callingClient, Meaning: "the client's HTTP request failed"},
	1507: {Name: "SERVICE_HTTP_CONNECTION_TIME_OUT", Where: AllCalls, Source: callingClient, Meaning: "the client's HTTP request took too long"},
	1508: {Name: "SERVICE_HTTP_INVALID_PEER_CERT", Where: AllCalls, Source: callingClient, Meaning: "the client did not trust the server's certificate"},
	1509: {Name: "SERVICE_HTTP_CONNECT_FAIL", Where: AllCalls, Source: callingClient, Meaning: "the client could not connect"},
	1510: {Name: "SERVICE_HTTP_INVALID_URL", Where: AllCalls, Source: callingClient, Meaning: "the client was set up with a wrong URL"},
	1511: {Name: "SERVICE_INCOMPATIBLE_PLANETKIT_VER", Where: AllCalls, Source: cloud, Meaning: "the client's PlanetKit is too old"},
	1512: {Name: "SERVICE_TOO_MANY_REQUESTS", Where: AllCalls, Source: cloud, Meaning: "too many attempts in a short time"},

	1601: {Name: "RTC_ABORT", Where: AllCalls, Source: anyClient, Meaning: "the browser gave up using a media device"},
	1602: {Name: "RTC_NOT_ALLOWED", Where: AllCalls, Source: anyClient, Meaning: "the user or the browser did not allow a media device"},
	1603: {Name: "RTC_NOT_FOUND", Where: AllCalls, Source: anyClient, Meaning: "the browser found no fitting media device"},
	1604: {Name: "RTC_NOT_READABLE", Where: AllCalls, Source: anyClient, Meaning: "the browser could not read from a media device"},
	1605: {Name: "RTC_OVERCONSTRAINED", Where: AllCalls, Source: anyClient, Meaning: "no media device could do what was asked"},
	1606: {Name: "RTC_SECURITY_ERROR", Where: AllCalls, Source: anyClient, Meaning: "media devices are switched off in the page"},
	1607: {Name: "RTC_TYPE_ERROR", Where: AllCalls, Source: anyClient, Meaning: "the page asked for media in a wrong way"},
	1608: {Name: "NO_MEDIA_PACKET", Where: AllCalls, Source: anyClient, Meaning: "no media arrived"},
	1609: {Name: "CALL_CONNECT_FAIL_BY_SERVER", Where: AllCalls, Source: anyClient, Meaning: "connecting the call failed at the server"},
	1610: {Name: "CALL_CONNECT_FAIL_BY_CLIENT", Where: AllCalls, Source: anyClient, Meaning: "connecting the call failed at the client"},
	1611: {Name: "SIGNALING_UNEXPECTED_DISCONNECTED", Where: AllCalls, Source: anyClient, Meaning: "the signalling connection broke"},
	1612: {Name: "BROWSER_NOT_SUPPORTED", Where: AllCalls, Source: anyClient, Meaning: "the browser is not supported"},

	// Numbers of old SDKs; what is public is that they are deprecated.
	1101: deprecated("1101"),
	1102: deprecated("1102"),
	1103: deprecated("1103"),
	1104: deprecated("1104"),
	1105: deprecated("1105"),
	1106: deprecated("1106"),
	1107: deprecated("1107"),
	1108: deprecated("1108"),
	1306: deprecated("1306"),
	1307: deprecated("1307"),
	1403: deprecated("1403"),
}

func deprecated(code string) ReasonInfo {
	return ReasonInfo{
		Name: "DEPRECATED_" + code, Where: AllCalls, Source: anyone,
		Meaning: "a number of an old PlanetKit that is no longer in use",
	}
}
