// An example: replace it by your own scripts.
import http from "k6/http";
import { check, sleep } from "k6";

export const options = {
  vus: 4,
  duration: "30s",
  thresholds: { http_req_failed: ["rate<0.01"] },
};

export default function () {
  const answer = http.get(__ENV.TARGET || "http://k6d.load-tests.svc:8000/health");
  check(answer, { "status is 200": (r) => r.status === 200 });
  sleep(1);
}
