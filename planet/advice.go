package planet

// adviceOf returns what an operator can do about a reason; empty where it is nothing.
func adviceOf(family Family, reason ReasonInfo) words {
	switch {
	case !reason.Known:
		return words{}
	case family == FamilyDisconnectReason:
		return disconnectAdvice[reason.Code]
	case family == FamilyCallEndReason:
		return disconnectAdvice[callEndAdvice[reason.Code]]
	case family == FamilyTerminate:
		return disconnectAdvice[terminateAdvice[reason.Code]]
	}
	if like, ok := disconnectReasonsByReleaseCode[reason.Code]; ok {
		return disconnectAdvice[like]
	}
	switch reason.Code {
	case 0, 520: // nothing went wrong
		return words{}
	case 120, 121:
		return disconnectAdvice[1502]
	}
	return report
}

// report is the advice about what only the LINE Planet team can look into.
var report = words{
	"If it comes again, report it to the LINE Planet team with the session ID, rel_code, rel_code_str and the time.",
	"繰り返し発生する場合は、セッションID、rel_code、rel_code_str、発生時刻を添えてLINE Planetチームにお問い合わせください。",
}

var (
	clientNetwork = words{
		"Look at the client's network. If many users are affected, check whether a firewall or proxy on their side blocks PlanetKit.",
		"クライアント側のネットワークをご確認ください。多くのユーザーで発生する場合は、ファイアウォールやプロキシがPlanetKitの通信を妨げていないかをご確認ください。",
	}
	clientHTTP = words{
		"The client did not get as far as Planet Cloud. Look at its network and, for a web app, whether its origin is registered with LINE Planet.",
		"クライアントからPlanet Cloudに到達できていません。クライアントのネットワークをご確認ください。Webアプリの場合は、オリジンがLINE Planetに登録されているかもご確認ください。",
	}
	mediaDevice = words{
		"Ask the user to check the microphone and camera, and whether the app or page may use them.",
		"マイクとカメラの状態、およびアプリやページに使用が許可されているかを確認するよう、ユーザーにご案内ください。",
	}
)

// disconnectAdvice is by disconnect reason. Sources: the pages on troubleshooting, and
// docs/line-planet.md 2, 3.6 and 4.3.
var disconnectAdvice = map[int]words{
	1109: report,
	1110: {
		"Look at user_rel_code: it is the reason that the app, or the call of the Kick-out API, has given.",
		"user_rel_codeをご確認ください。アプリ、またはKick-out APIの呼び出しで指定された理由が入っています。",
	},
	1111: report,
	1112: mediaDevice,

	1202: {
		"Nothing has to be repaired. A call to somebody who is in a call brings no Notify, only a Call Event, so no device rings.",
		"対応は不要です。通話中のユーザーへの発信ではNotifyは届かず、Call Eventだけが届くため、端末は鳴動しません。",
	},
	1203: {
		"If the callee says that nothing rang, look at what became of the pushes to the callee's devices.",
		"着信者の端末が鳴動しなかった場合は、その端末へのプッシュ通知の結果をご確認ください。",
	},
	1208: {
		"The service's longest call time is set by LINE Planet; its demo service ends calls after 5 minutes. Ask the LINE Planet team for a longer one.",
		"通話時間の上限はLINE Planet側で設定されています（デモ用サービスでは5分です）。延長をご希望の場合は、LINE Planetチームにお問い合わせください。",
	},

	1301: clientNetwork,
	1302: {
		"Check that Planet Cloud can reach the Notify URL registered for this API key: its host, port, firewall and certificate, the time it takes to answer, " +
			"and that no proxy in front shortens request lines. An app server that refuses callees without a device causes this too.",
		"このAPIキーに登録したNotify URLにPlanet Cloudから到達できるかをご確認ください（ホスト、ポート、ファイアウォール、証明書、応答時間、" +
			"およびプロキシによるリクエスト行の長さの制限）。端末を持たない着信者への着信を拒否する設定でも発生します。",
	},
	1303: {
		"Check API key and API secret of the project, and that they belong to the environment that the clients use.",
		"プロジェクトのAPIキーとAPIシークレット、およびそれらがクライアントの使用する環境のものであるかをご確認ください。",
	},
	1304: {
		"The device answered too late, often because its push came late. Compare when the push was sent with when the device got it.",
		"端末の応答が間に合いませんでした。プッシュ通知の遅れが原因であることが多いため、送信時刻と端末が受信した時刻を比べてご確認ください。",
	},
	1305: report,
	1308: clientNetwork,
	1309: {
		"If users did not close the app themselves, look for crashes in it.",
		"ユーザーがアプリを終了していない場合は、アプリがクラッシュしていないかをご確認ください。",
	},
	1312: {
		"Look at the client's network: a VPN or tunnel may take smaller packets only.",
		"クライアント側のネットワークをご確認ください。VPNやトンネルにより、送れるパケットの大きさが制限されている場合があります。",
	},
	1313: {
		"As for PUSH_ERROR, check that Planet Cloud can reach the app server's callback URLs: host, port, firewall, certificate, time to answer, " +
			"and the length of request lines that a proxy takes. App server data makes them up to 12 KB longer.",
		"PUSH_ERRORの場合と同様に、アプリサーバーのコールバックURLにPlanet Cloudから到達できるかをご確認ください（ホスト、ポート、ファイアウォール、証明書、応答時間、" +
			"およびプロキシが許容するリクエスト行の長さ）。アプリサーバーデータを使用すると、リクエスト行は最大で約12KB長くなります。",
	},

	1401: {
		"The number of participants is limited by LINE Planet. Ask the LINE Planet team if your rooms need more.",
		"参加人数の上限はLINE Planet側で設定されています。上限の引き上げをご希望の場合は、LINE Planetチームにお問い合わせください。",
	},

	1501: {
		"Check how access tokens are made: API key and secret of the same environment and service, the secret used as text and not decoded, the issue time in seconds, " +
			"the server's clock, a fresh token for every call, and the user ID and service ID that the client gives to the SDK.",
		"アクセストークンの発行方法をご確認ください（同じ環境・サービスのAPIキーとシークレットを使用していること、シークレットをデコードせず文字列のまま使用していること、発行時刻が秒単位であること、" +
			"サーバーの時刻、通話ごとに新しいトークンを発行していること、SDKに渡すユーザーIDとサービスIDとの一致）。",
	},
	1502: {
		"Check the user IDs and service IDs that the client gives to the SDK for characters that LINE Planet does not allow.",
		"クライアントがSDKに渡すユーザーIDとサービスIDに、LINE Planetで使用できない文字が含まれていないかをご確認ください。",
	},
	1503: {
		"Wait for the end of the maintenance; LINE Planet announces it.",
		"メンテナンスの終了をお待ちください。終了予定はLINE Planetのお知らせをご確認ください。",
	},
	1504: {
		"Try again later. If it lasts, ask the LINE Planet team.",
		"しばらくしてからもう一度お試しください。続く場合は、LINE Planetチームにお問い合わせください。",
	},
	1505: report,
	1506: clientHTTP,
	1507: clientHTTP,
	1508: {
		"Look for a proxy or virus scanner on the client's side that opens TLS connections, and at the device's clock.",
		"クライアント側でTLS通信を復号するプロキシやウイルス対策ソフトの有無、および端末の時刻をご確認ください。",
	},
	1509: clientHTTP,
	1510: {
		"Correct the LINE Planet URL that the app was built with.",
		"アプリに設定されているLINE PlanetのURLを修正してください。",
	},
	1511: {
		"Build the app with a newer PlanetKit, and have users update.",
		"新しいバージョンのPlanetKitでアプリをビルドし、ユーザーにアップデートをご案内ください。",
	},
	1512: {
		"Look for a client that tries again and again without pauses, and lower the number of access tokens that a user may ask for.",
		"間隔を空けずに再試行を繰り返しているクライアントがないかをご確認のうえ、ユーザーごとのアクセストークン発行数の制限を厳しくしてください。",
	},

	1601: mediaDevice, 1602: mediaDevice, 1603: mediaDevice, 1604: mediaDevice, 1605: mediaDevice,
	1606: {
		"Check that the page is served over HTTPS and that its permissions policy allows microphone and camera.",
		"ページがHTTPSで配信されているか、またPermissions-Policyでマイクとカメラの使用が許可されているかをご確認ください。",
	},
	1607: {
		"Correct the media constraints that the web app asks for.",
		"Webアプリが指定しているメディアの条件を修正してください。",
	},
	1608: clientNetwork,
	1609: report,
	1610: clientNetwork,
	1611: clientNetwork,
	1612: {
		"Tell the user which browsers PlanetKit for Web supports.",
		"PlanetKit for Webが対応しているブラウザーをユーザーにご案内ください。",
	},
}

// callEndAdvice names the disconnect reason whose advice holds for an old number.
var callEndAdvice = map[int]int{
	1001: 1202, 1002: 1203, 1010: 1301, 1011: 1301, 1012: 1112, 1013: 1112, 1016: 1109, 1017: 1109,
	1018: 1303, 1019: 1303, 1020: 1302, 1021: 1305, 1022: 1109, 1023: 1109,
	1025: 1109, 1026: 1109, 1100: 1109,
}

// terminateAdvice does the same for the numbers of statistics.
var terminateAdvice = map[int]int{17: 1202, 18: 1203}
