// The page of a payment inside WeChat or Alipay: opens the app's own pay sheet. The page itself shows how it stands;
// the app's word that it was paid proves nothing, so afterwards the page is only asked for again.
(function () {
  "use strict";
  var go = document.querySelector("[data-go]");
  if (go) {
    location.replace(go.href);
    return;
  }
  var sheet = document.querySelector("[data-bridge]");
  if (!sheet) return;
  var values = JSON.parse(sheet.getAttribute("data-bridge"));
  function again() {
    location.reload();
  }
  function open() {
    if (window.WeixinJSBridge && values.paySign) {
      window.WeixinJSBridge.invoke("getBrandWCPayRequest", values, again);
    } else if (window.AlipayJSBridge && values.tradeNO) {
      window.AlipayJSBridge.call("tradePay", values, again);
    }
  }
  sheet.addEventListener("click", open);
  var key = "sheet-" + location.pathname;
  function once() {
    try {
      if (sessionStorage.getItem(key)) return;
      sessionStorage.setItem(key, "1");
    } catch (error) {
      return; // without storage it would open again with each refresh: the button opens it
    }
    open();
  }
  if (window.WeixinJSBridge || window.AlipayJSBridge) once();
  document.addEventListener("WeixinJSBridgeReady", once, false);
  document.addEventListener("AlipayJSBridgeReady", once, false);
})();
