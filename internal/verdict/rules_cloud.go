package verdict

import (
	"slices"

	"github.com/planetbell/planetbell/internal/bell"
)

// cloud makes a rule of reasons for which Planet Cloud, or the caller's side, ended a call
// before any device could be told.
func cloud(code Code, hop Hop, sentence, fix Text, reasons ...int) callRule {
	r := Rule{code, hop, false, sentence, "disconnect_reason " + numbers(reasons) + ", or the rel_code that is the same, and no device that was tried", fix}
	return callRule{r, func(f *facts) bool { return f.untried() && f.is(reasons...) }}
}

// untried reports whether the call ended and no device was tried.
func (f *facts) untried() bool {
	return f.Call.State == bell.CallEnded && f.rang() == nil && !slices.ContainsFunc(f.devices, func(d device) bool {
		return d.d != nil && (len(d.d.Attempts) > 0 || d.d.Delivery.State == bell.DeliveryFailed)
	})
}

// pushError makes a rule of disconnect_reason 1302. release is the rel_code; 0 stands for any.
func pushError(code Code, sentence, fix Text, release int, notified bool) callRule {
	needs := "disconnect_reason 1302"
	if release != 0 {
		needs += " with rel_code " + numbers([]int{release})
	}
	if notified {
		needs += ", and a Notify that is on record"
	}
	return callRule{Rule{code, HopCallback, false, sentence, needs, fix}, func(f *facts) bool {
		return f.is(1302) && (release == 0 || f.released(release)) && (!notified || !f.notified.IsZero())
	}}
}

func (f *facts) pushErrorWithoutDevice() bool {
	return f.is(1302) && !f.notified.IsZero() && len(f.Deliveries) == 0 && f.Call.Suppressed == bell.RingsAll && !f.Call.Circumstances.Overtaken
}

var reach = Text{
	"Check from outside that the Notify URL answers: its host, port, firewall and certificate, that it answers within a second or two, and that no proxy in front limits the length of request lines (32 KB).",
	"外部からNotify URLに到達できるかをご確認ください（ホスト、ポート、ファイアウォール、証明書、1〜2秒以内の応答、前段プロキシのリクエスト行の長さ制限32KB）。",
}

// cloudRules are about calls that Planet Cloud ended, and about our callbacks.
var cloudRules = []callRule{
	{
		Rule{
			"refused_no_device", HopDevice, false,
			Text{"{callee} had no device that could ring, and this server answered Notify with an error, so the call ended at once.", "{callee}に鳴動可能な端末がなく、Notifyにエラーを返したため、通話は直ちに終了しました。"},
			"disconnect_reason 1302 with rel_code 207, a Notify, and no delivery",
			Text{"Have {callee} sign in on a device. If calls to nobody should ring out instead, set unknown_callee to ring_out.", "{callee}に端末でサインインしてもらってください。相手がいない場合も呼び出し続けたいときは、unknown_calleeをring_outに設定してください。"},
		},
		func(f *facts) bool {
			return f.released(207) && f.pushErrorWithoutDevice()
		},
	},
	{
		Rule{
			"push_error_no_device", HopCallback, false,
			Text{"{callee} had no device that could ring, and Planet Cloud counted Notify as failed ({number}): its answer was late or lost, or it was an error because unknown_callee is refuse.", "{callee}に鳴動可能な端末がなく、Planet CloudではNotifyが失敗と判定されました（{number}）。応答の遅延・未達、またはunknown_callee: refuseによるエラー応答が考えられます。"},
			"disconnect_reason 1302 with another rel_code or none, a Notify, and no delivery",
			Text{"Have {callee} sign in on a device. If unknown_callee is ring_out, look at how long Notify takes to be answered, and at the proxy in front.", "{callee}に端末でサインインしてもらってください。unknown_calleeがring_outの場合は、Notifyの応答時間と前段のプロキシをご確認ください。"},
		},
		(*facts).pushErrorWithoutDevice,
	},
	pushError("callback_answer_lost",
		Text{"This server took Notify, but Planet Cloud counted it as failed ({number}) and ended the call: the answer came too late or did not arrive.", "Notifyは受信しましたが、Planet Cloudでは失敗と判定され（{number}）、通話が終了しました。応答の遅延または未達が考えられます。"},
		Text{"Look at how long Notify takes to be answered (planetbell_http_request_duration_seconds), and at the proxy in front.", "Notifyの応答時間（planetbell_http_request_duration_seconds）と前段のプロキシをご確認ください。"}, 0, true),
	pushError("callback_unreachable",
		Text{"Planet Cloud could not reach this server to ask it to ring ({number}).", "Planet Cloudがこのサーバーに到達できず、鳴動を依頼できませんでした（{number}）。"}, reach, 203, false),
	pushError("callback_user_not_found",
		Text{"Planet Cloud was told that {callee} is not known, and ended the call ({number}).", "{callee}が見つからないという応答により、Planet Cloudが通話を終了しました（{number}）。"},
		Text{"If the user exists, check that the Notify URL in the LINE Planet Console is this server's and not another app server's.", "ユーザーが存在する場合は、LINE Planet ConsoleのNotify URLが別のサーバーを指していないかをご確認ください。"}, 207, false),
	pushError("callback_misunderstood",
		Text{"Planet Cloud did not understand the answer to Notify ({number}): something else than planetbell answered it.", "Notifyへの応答をPlanet Cloudが解釈できませんでした（{number}）。planetbell以外が応答した可能性があります。"},
		Text{"Look for a proxy, a login page or another server behind the Notify URL.", "Notify URLの背後にあるプロキシ、ログインページ、別のサーバーの有無をご確認ください。"}, 231, false),
	pushError("callback_failed",
		Text{"Planet Cloud called this server, and the callback failed ({number}), so nothing rang.", "Planet Cloudからのコールバックが失敗したため（{number}）、鳴動していません。"}, reach, 0, false),
	cloud("app_server_data_error", HopCallback,
		Text{"Planet Cloud could not hand over the app server data ({number}), so the call ended.", "アプリサーバーデータを引き渡せなかったため（{number}）、通話が終了しました。"}, reach, 1313),
	cloud("access_token_refused", HopCaller,
		Text{"Planet Cloud refused {caller}'s access token ({number}), so the call never got as far as ringing.", "{caller}のアクセストークンが拒否されたため（{number}）、呼び出しに至りませんでした。"},
		Text{"Check API key and secret of the project, that both belong to the environment that the app uses, and this machine's clock.", "プロジェクトのAPIキーとシークレット、アプリと同じ環境のものか、およびサーバーの時計をご確認ください。"}, 1501),
	cloud("auth_error", HopCloud,
		Text{"Planet Cloud could not authenticate the call ({number}).", "Planet Cloudで認証に失敗しました（{number}）。"},
		Text{"Check API key and API secret of the project, and that they belong to the environment that the clients use.", "プロジェクトのAPIキーとシークレットが、クライアントと同じ環境のものかをご確認ください。"}, 1303),
	cloud("invalid_id", HopCaller,
		Text{"Planet Cloud does not take one of the call's IDs ({number}).", "Planet Cloudが受け付けないIDが使われました（{number}）。"},
		Text{"User IDs have letters, digits, hyphens and underscores; service IDs letters, digits, dots and hyphens.", "ユーザーIDは英数字・ハイフン・アンダースコア、サービスIDは英数字・ドット・ハイフンのみ使用できます。"}, 1502),
	cloud("cloud_maintenance", HopCloud,
		Text{"Planet Cloud was under maintenance ({number}).", "Planet Cloudがメンテナンス中でした（{number}）。"},
		Text{"Wait, and see LINE Planet's notices.", "LINE Planetのお知らせをご確認のうえ、しばらくお待ちください。"}, 1503),
	cloud("cloud_busy", HopCloud,
		Text{"Planet Cloud was too busy to take the call ({number}).", "Planet Cloudが混雑していました（{number}）。"},
		Text{"Try again; if it stays, report the session ID to the LINE Planet team.", "時間をおいて再試行してください。続く場合はセッションIDを添えてLINE Planetチームにお問い合わせください。"}, 1504),
	cloud("cloud_internal", HopCloud,
		Text{"Planet Cloud had an error of its own ({number}).", "Planet Cloudの内部エラーです（{number}）。"},
		Text{"If it comes again, report session ID, rel_code and time to the LINE Planet team.", "繰り返す場合は、セッションID、rel_code、時刻を添えてLINE Planetチームにお問い合わせください。"}, 1305, 1505),
	cloud("incompatible_version", HopCaller,
		Text{"The PlanetKit of a client is too old for Planet Cloud ({number}).", "クライアントのPlanetKitのバージョンが古く、利用できません（{number}）。"},
		Text{"Update PlanetKit in the app.", "アプリのPlanetKitを更新してください。"}, 1511),
	cloud("too_many_requests", HopCaller,
		Text{"{caller} made too many attempts in a short time ({number}).", "{caller}が短時間に多数の発信を試みました（{number}）。"},
		Text{"Look for an app that calls again and again in a loop.", "アプリが発信を繰り返していないかをご確認ください。"}, 1512),
	cloud("max_call_time", HopCloud,
		Text{"The longest call time was over ({number}).", "通話時間の上限に達しました（{number}）。"},
		Text{"LINE Planet sets the longest call time; ask its team for a longer one.", "上限はLINE Planet側の設定です。延長はLINE Planetチームにお問い合わせください。"}, 1208),
	cloud("released_call", HopCloud,
		Text{"The call was over already when a client came to it ({number}).", "クライアントが接続した時点で通話は終了していました（{number}）。"},
		Text{"No device was told of it by this server: check that Notify comes, and that the app hands no cc_param of an earlier call to verifyCall.", "このサーバーはどの端末にも通知していません。Notifyの到達状況と、アプリが過去の通話のcc_paramをverifyCallに渡していないかをご確認ください。"}, 1304),
	cloud("client_network", HopNetwork,
		Text{"A client's network failed before any device could be told ({number}).", "端末に通知する前にクライアントのネットワークが切断されました（{number}）。"},
		Text{"Look at the client's network; firewalls may block PlanetKit.", "クライアントのネットワークをご確認ください。ファイアウォールが通信を妨げている可能性があります。"}, 1301, 1308, 1312, 1506, 1507, 1508, 1509, 1510),
	cloud("client_gone", HopCaller,
		Text{"A client's app or machine stopped before any device could be told ({number}).", "端末に通知する前にクライアントのアプリまたは端末が停止しました（{number}）。"}, Text{}, 1309, 1310, 1311, 1314),
	cloud("cellular_call", HopCaller,
		Text{"A cellular call came in on a client, and ended this one ({number}).", "クライアントに携帯電話の着信があり、通話が終了しました（{number}）。"}, Text{}, 1003),
	cloud("client_error", HopCaller,
		Text{"A client ended the call with an error before any device could be told: {why} ({number}).", "端末に通知する前にクライアントのエラーで終了しました：{why}（{number}）。"},
		Text{"Look at the app's own log for this session.", "このセッションのアプリ側のログをご確認ください。"},
		1109, 1110, 1111, 1112, 1601, 1602, 1603, 1604, 1605, 1606, 1607, 1608, 1609, 1610, 1611, 1612),
}
