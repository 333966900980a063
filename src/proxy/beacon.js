// Times a request to two regions, on a connection that is open already, and tells the edge. Nothing else
// is told, and no third party is asked.
(function () {
  "use strict";
  var script = document.currentScript;
  var sample = SAMPLE;
  var probes = PROBES;
  if (!script || !window.fetch || !navigator.sendBeacon || Math.random() >= sample) return;

  var options = { mode: "no-cors", cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer" };

  function time(url) {
    return fetch(url, options).then(function () {
      var began = performance.now();
      return fetch(url, options).then(function () {
        return performance.now() - began;
      });
    });
  }

  function pick(names) {
    return names.splice(Math.floor(Math.random() * names.length), 1)[0];
  }

  function measure() {
    var names = Object.keys(probes);
    var one = pick(names);
    var other = pick(names);
    time(probes[one]).then(function (first) {
      return time(probes[other]).then(function (second) {
        var report = new URL("/.well-known/meridian/beacon", script.src);
        report.searchParams.set(one, first.toFixed(1));
        report.searchParams.set(other, second.toFixed(1));
        navigator.sendBeacon(report);
      });
    }).catch(function () {
      // A region that does not answer has no round trip.
    });
  }

  // The page comes first; it may have loaded before this script came.
  function soon() {
    setTimeout(measure, 1000);
  }
  if (document.readyState === "complete") {
    soon();
  } else {
    window.addEventListener("load", soon);
  }
})();
