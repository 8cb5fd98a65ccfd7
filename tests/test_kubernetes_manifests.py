"""config/kubernetes and config/container fit together, and grant k6d what it asks for: no more."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import yaml

from k6d import settings
from k6d.execution.kubernetes.cluster import PERMISSIONS
from support.binaries import NEW
from support.kubernetes import granted
from support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

Object = dict[str, Any]
FOLDER = ROOT / "config" / "kubernetes"
CONTAINERFILE = (ROOT / "config" / "container" / "Containerfile").read_text(encoding="utf-8")
SETTINGS = tomllib.loads((FOLDER / "k6d.toml").read_text(encoding="utf-8"))


def load(path: Path) -> list[Object]:
    """The documents of a file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


KUSTOMIZATION = load(FOLDER / "kustomization.yaml")[0]
OBJECTS = {
    (one["kind"], one["metadata"]["name"]): one
    for name in KUSTOMIZATION["resources"]
    for one in load(FOLDER / name)
}
DEPLOYMENT = OBJECTS["Deployment", "k6d"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
GIT_SYNC = load(FOLDER / "git-sync" / "patch.yaml")[0]["spec"]["template"]["spec"]


def test_the_role_grants_what_a_run_needs_and_no_more() -> None:
    """The role's verbs equal the permissions that k6d uses and that `k6d doctor` checks."""
    needed = set()
    for one in PERMISSIONS:
        kind = one.kind.value
        part = f"/{one.subresource}" if one.subresource else ""
        group = f".{kind.group}" if kind.group else ""
        needed.add(f"{one.verb} {kind.plural}{part}{group}")
    assert granted() == needed
    binding = OBJECTS["RoleBinding", "k6d"]
    assert binding["roleRef"]["name"] == "k6d"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": POD["serviceAccountName"]}]
    assert ("ServiceAccount", "k6d") in OBJECTS


def test_all_files_are_in_the_kustomization() -> None:
    """No manifest is left out, none is missing."""
    generated = [name for one in KUSTOMIZATION["configMapGenerator"] for name in one["files"]]
    named = {*KUSTOMIZATION["resources"], *generated, "kustomization.yaml"}
    found = {str(one.relative_to(FOLDER)) for one in FOLDER.rglob("*") if one.is_file()}
    component = {one for one in found if one.startswith("git-sync/")}
    assert component == {"git-sync/kustomization.yaml", "git-sync/patch.yaml"}
    assert load(FOLDER / "git-sync" / "kustomization.yaml")[0]["patches"] == [
        {"path": "patch.yaml"}
    ]
    assert found - component == named
    assert KUSTOMIZATION["namespace"] == OBJECTS["Namespace", "load-tests"]["metadata"]["name"]


def test_what_the_pod_names_is_there() -> None:
    """Volumes, ConfigMaps, the claim, labels and the ports of the service."""
    generated = {one["name"] for one in KUSTOMIZATION["configMapGenerator"]}
    volumes = {one["name"]: one for one in POD["volumes"]}
    assert {one["name"] for one in CONTAINER["volumeMounts"]} == set(volumes)
    assert {one["configMap"]["name"] for one in volumes.values() if "configMap" in one} == generated
    claim = volumes["data"]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in OBJECTS
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"].items()
    policy = OBJECTS["NetworkPolicy", "k6d"]["spec"]
    service = OBJECTS["Service", "k6d"]["spec"]
    for selector in (
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
        service["selector"],
    ):
        assert selector.items() <= labels
    ports = {one["name"]: one["containerPort"] for one in CONTAINER["ports"]}
    assert {one["targetPort"]: one["port"] for one in service["ports"]} == ports
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == set(ports)


def test_the_settings_fit_the_service() -> None:
    """k6d takes them, and listens where the service and the pods of k6 look for it."""
    assert settings.load(FOLDER / "k6d.toml").kubernetes.parallelism == 2
    ports = {one["name"]: one["containerPort"] for one in CONTAINER["ports"]}
    assert SETTINGS["api"]["port"] == ports["api"]
    kubernetes = SETTINGS["kubernetes"]
    assert kubernetes["receiver_port"] == ports["receiver"]
    assert kubernetes["receiver_url"] == f"http://k6d.load-tests.svc:{ports['receiver']}"
    assert kubernetes["receiver_bind"] == SETTINGS["api"]["host"] == "0.0.0.0"
    assert SETTINGS["k6"]["executor"] == "kubernetes"


def test_the_variables_are_settings() -> None:
    """Those that a manifest or the image sets, and those that a comment names."""
    known = (ROOT / "config" / "k6d.env.example").read_text(encoding="utf-8")
    files = [*FOLDER.rglob("*.yaml"), ROOT / "config" / "container" / "Containerfile"]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    named = set(re.findall(r"\b(?:K6D|GEMINI)_[A-Z0-9_]*[A-Z0-9]", text))
    assert {"K6D_NOTIFY__URLS", "K6D_SCRIPTS"} <= named
    assert named <= set(re.findall(r"^#(\w+)=", known, re.MULTILINE))


def test_only_one_daemon_uses_the_volume() -> None:
    """One replica, the old pod ends before the new one starts, a host name that stays."""
    spec = DEPLOYMENT["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert POD["hostname"] == "k6d"


def test_containers_are_hardened() -> None:
    """No root, a read-only root file system, no capabilities: the level "restricted"."""
    context = POD["securityContext"]
    assert context["runAsNonRoot"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in CONTAINERFILE
    sidecars = [one for one in GIT_SYNC["containers"] if "image" in one]
    for container in (CONTAINER, *sidecars):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
    writable = {
        mount["mountPath"] for mount in CONTAINER["volumeMounts"] if not mount.get("readOnly")
    }
    assert writable == {"/data", "/tmp"}


def test_the_image_takes_any_base_and_the_folders_of_the_pod() -> None:
    """The base is a build argument; scripts and data are where the pod mounts them."""
    assert re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE) == ["${BASE}", "${BASE}"]
    mounts = {one["name"]: one["mountPath"] for one in CONTAINER["volumeMounts"]}
    assert f"K6D_SCRIPTS={mounts['scripts']}" in CONTAINERFILE
    assert f"K6D_DATA={mounts['data']}" in CONTAINERFILE
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name


def test_git_sync_gives_the_scripts() -> None:
    """k6d reads the link that git-sync replaces, in a volume that both have."""
    settings = {one["name"]: one["value"] for one in GIT_SYNC["containers"][1]["env"]}
    (scripts,) = GIT_SYNC["containers"][0]["env"]
    link = f"{settings['GITSYNC_ROOT']}/{settings['GITSYNC_LINK']}"
    assert scripts == {"name": "K6D_SCRIPTS", "value": link}
    mounts = {one["name"]: one["mountPath"] for one in CONTAINER["volumeMounts"]}
    assert mounts["scripts"] == settings["GITSYNC_ROOT"]
    volumes = {one["name"]: one for one in GIT_SYNC["volumes"]}
    assert volumes["scripts"] == {"name": "scripts", "configMap": None, "emptyDir": {}}
    assert {one["name"] for one in GIT_SYNC["containers"][1]["volumeMounts"]} == set(volumes)


def test_k6_takes_the_example_script() -> None:
    """It has as many VUs as there are runners at least."""
    script = FOLDER / "scripts" / "example.js"
    command = [NEW, "inspect", "--execution-requirements", script]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r'"maxVUs": (\d+)', said)
    assert found
    assert int(found[1]) >= SETTINGS["kubernetes"]["parallelism"]
