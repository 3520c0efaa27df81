// All words of the page and of its notifications. It is no module, so that the service worker
// can load it too: it leaves its functions in softphone.messages.
(() => {
  const words = {
    en: {
      title: 'planetbell softphone', language: 'Language', me: 'You', calls: 'Calls',
      who: 'Who are you?', demoHint: 'Open one person in this tab and the other in a second one, and let them ring each other.',
      userID: 'User ID', server: 'Address of the server', service: 'Service ID', clientKey: 'Client key',
      signInToken: 'Token of your own sign-in, if the server asks for one', signIn: 'Sign in', signOut: 'Sign out',
      openAs: 'I am {name}', other: 'Or another name',
      stream: 'Can be called: holds a stream', poll: 'Can be called: asks by long polling', connecting: 'Connecting …',
      offline: 'Cannot be called: {why}. Trying again.', elsewhere: 'Can be called: another tab of yours holds the line',
      pushOn: 'Ring me when this page is closed', pushAsk: 'This page rings while it is open.',
      pushYes: 'Also rings when this page is closed.', pushDenied: 'Rings only while it is open: notifications are blocked in this browser.',
      pushServer: 'Rings only while it is open: the server has no web push.', pushBrowser: 'Rings only while it is open: this browser has no web push.',
      pushFailed: 'Rings only while it is open: the browser could not subscribe to push messages.',
      callSomebody: 'Call somebody', peerID: 'User ID', call: 'Call', openOther: 'Nobody to call? Open {name} in another tab',
      joinRoom: 'Group call', roomID: 'Room ID', join: 'Join', leave: 'Leave', inRoom: 'In the room: {users}', alone: 'You are alone in the room',
      past: 'Past calls', pastNone: 'No calls yet.', log: 'What happened',
      incoming: 'is calling you', incomingVideo: 'is calling you, with video', incomingTitle: 'Call from {name}', answer: 'Answer', decline: 'Decline',
      cancel: 'Cancel', hangUp: 'Hang up', calling: 'Calling …', answering: 'Connecting …', talking: 'In a call', inCall: 'In a call with {name}', room: 'Room {room}',
      missed: 'Missed call from {name}', missedAt: 'Missed at {time}', callBack: 'Call back', dismiss: 'Dismiss',
      invitation: '{name} asks you into the room {room}', invitationAnon: 'You are asked into the room {room}',
      test: 'A test: this browser can be reached', otherNotice: 'There is news in the softphone',
      newTitle: '{name} is calling', e1001: 'The call has ended', e1002: 'Declined', e1201: 'The caller hung up', e1202: 'Is in another call', e1203: 'Nobody answered',
      e1204: 'It rings already in this browser', e1205: 'You are in a call on another device', e1206: 'Answered on another device', e1207: 'Declined on another device',
      e1301: 'The connection is lost', e1302: 'The call could not be announced', e1304: 'The call is already over', e1110: 'Removed from the room',
      e1501: 'The access token was refused', canceled: 'Cancelled', ended: 'The call has ended ({code})', failed: 'The call failed',
      noCalleeID: 'Nobody can call himself', noServer: 'The server cannot be reached', busy: 'The server is busy. Trying again …', taken: 'This user ID is in use. Choose another one.',
      refused: 'The server refuses: {why}', session: 'Your registration has expired. Sign in again.', noCloud: 'PlanetKit is not there: see examples/web/README.md.',
      lSigned: 'registered at the server', lStream: 'the stream is open', lPoll: 'asks by long polling', lOffline: 'not connected: {why}', lGot: 'call {sid} came by {via}', lRepeat: 'call {sid} came once more, by {via}',
      lAck: 'receipt for {sid} sent', lVerified: 'call {sid} verified: it rings', lEnded: 'call {sid} is over: {why}', lNotice: 'notice {event}', lLeader: 'this tab holds the line', lServerEnded: 'the server says that {sid} has ended',
      inSec: '{m}:{s}',
    },
    ja: {
      title: 'planetbell ソフトフォン', language: '言語', me: 'あなた', calls: '通話',
      who: 'どなたですか？', demoHint: 'このタブと別のタブで、それぞれ別の人として開くと、互いに電話をかけられます。',
      userID: 'ユーザーID', server: 'サーバーのアドレス', service: 'サービスID', clientKey: 'クライアントキー',
      signInToken: '自社サインインのトークン（サーバーが求める場合）', signIn: 'サインイン', signOut: 'サインアウト',
      openAs: '{name} です', other: 'または別の名前',
      stream: '着信できます（ストリーム接続中）', poll: '着信できます（ロングポーリング中）', connecting: '接続しています…',
      offline: '着信できません：{why}。再試行しています。', elsewhere: '着信できます（別のタブが接続しています）',
      pushOn: 'ページを閉じていても着信する', pushAsk: 'このページを開いている間だけ着信します。',
      pushYes: 'ページを閉じていても着信します。', pushDenied: '開いている間だけ着信します：このブラウザーでは通知がブロックされています。',
      pushServer: '開いている間だけ着信します：サーバーにウェブプッシュの設定がありません。', pushBrowser: '開いている間だけ着信します：このブラウザーはウェブプッシュに対応していません。',
      pushFailed: '開いている間だけ着信します：ブラウザーがプッシュを購読できませんでした。',
      callSomebody: '電話をかける', peerID: 'ユーザーID', call: '発信', openOther: '相手がいないときは、別のタブで {name} を開いてください',
      joinRoom: 'グループ通話', roomID: 'ルームID', join: '参加', leave: '退出', inRoom: '参加者：{users}', alone: 'ルームにはあなただけです',
      past: '通話履歴', pastNone: 'まだ通話はありません。', log: '動作の記録',
      incoming: 'さんから着信中', incomingVideo: 'さんからビデオ着信中', incomingTitle: '{name} さんからの着信', answer: '応答', decline: '拒否',
      cancel: '取り消し', hangUp: '切る', calling: '呼び出しています…', answering: '接続しています…', talking: '通話中', inCall: '{name} さんと通話中', room: 'ルーム {room}',
      missed: '{name} さんからの不在着信', missedAt: '{time} の不在着信', callBack: 'かけ直す', dismiss: '閉じる',
      invitation: '{name} さんがルーム {room} に招待しています', invitationAnon: 'ルーム {room} に招待されています',
      test: 'テスト：このブラウザーに通知が届きます', otherNotice: 'ソフトフォンにお知らせがあります',
      newTitle: '{name} さんから着信', e1001: '通話が終了しました', e1002: '拒否されました', e1201: '相手が切りました', e1202: '相手は通話中です', e1203: '応答がありませんでした',
      e1204: 'このブラウザーではすでに着信中です', e1205: '別の端末で通話中です', e1206: '別の端末で応答しました', e1207: '別の端末で拒否しました',
      e1301: '接続が切れました', e1302: '着信を通知できませんでした', e1304: '通話はすでに終了しています', e1110: 'ルームから退出させられました',
      e1501: 'アクセストークンが拒否されました', canceled: '取り消しました', ended: '通話が終了しました（{code}）', failed: '通話できませんでした',
      noCalleeID: '自分には電話できません', noServer: 'サーバーに接続できません', busy: 'サーバーが混み合っています。再試行しています…', taken: 'このユーザーIDは使用中です。別のIDを選んでください。',
      refused: 'サーバーが拒否しました：{why}', session: '登録の有効期限が切れました。もう一度サインインしてください。', noCloud: 'PlanetKit がありません。examples/web/README.md をご覧ください。',
      lSigned: 'サーバーに登録しました', lStream: 'ストリームを開きました', lPoll: 'ロングポーリングを始めました', lOffline: '未接続：{why}', lGot: '着信 {sid}（{via}）', lRepeat: '着信 {sid} が再度届きました（{via}）',
      lAck: '{sid} の受領を返しました', lVerified: '{sid} を確認し、鳴らしています', lEnded: '{sid} が終了しました：{why}', lNotice: 'お知らせ {event}', lLeader: 'このタブが接続しています', lServerEnded: '{sid} の終了をサーバーが知らせました',
      inSec: '{m}:{s}',
    },
  };

  const fit = (wanted) => (String(wanted || '').toLowerCase().startsWith('ja') ? 'ja' : 'en');

  // text is the message in the language, with {name} and so on filled in.
  function text(language, key, values = {}) {
    const found = words[fit(language)][key] ?? words.en[key] ?? key;
    return found.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
  }

  // ending says why a call is over; code is a disconnect reason of LINE Planet.
  function ending(language, code, name) {
    if (words.en['e' + code]) return text(language, 'e' + code);
    return code ? text(language, 'ended', { code: name || code }) : text(language, 'failed');
  }

  // notice says what a notice is of; event is its app_event.
  function notice(language, event, values) {
    const keys = { missed_call: 'missed', invitation: values.name ? 'invitation' : 'invitationAnon', test: 'test' };
    return text(language, keys[event] ?? 'otherNotice', { ...values, name: values.name || '?' });
  }

  const missing = () => Object.keys(words.en).filter((k) => !(k in words.ja)).concat(Object.keys(words.ja).filter((k) => !(k in words.en)));

  globalThis.softphone = Object.assign(globalThis.softphone ?? {}, { messages: { fit, text, ending, notice, missing } });
})();
