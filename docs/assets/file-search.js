// Search where the site is read from files: browsers start no worker there, so the theme's worker runs
// in a frame of the page instead. The theme looks for a class of this name (`IFrameWorker`), and waits
// for what `importScripts` returns.
if (location.protocol === "file:") {
  const loaded = (place, source) =>
    new Promise((resolve, reject) => {
      const script = place.createElement("script");
      script.src = source;
      script.onload = resolve;
      script.onerror = reject;
      place.body.append(script);
    });

  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.scope = frame.contentWindow;
      // Else some browsers would put another empty document in the place of this one, later.
      this.scope.document.open();
      this.scope.document.write("<body></body>");
      this.scope.document.close();
      this.scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.scope.importScripts = (...sources) =>
        sources.reduce(
          (before, source) => before.then(() => loaded(this.scope.document, source)),
          Promise.resolve(),
        );
      this.ready = loaded(this.scope.document, new URL(url, location.href).href);
    }

    postMessage(data) {
      this.ready.then(() => this.scope.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.scope.frameElement.remove();
    }
  };
  window.Worker = window.IFrameWorker;
}
