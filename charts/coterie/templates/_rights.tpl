{{- /*
Everywhere that is served: our own kinds and the names of namespaces, nothing that could hold data. `patch` on FederatedJobs is for
the finalizer; the policy `…-jobs` keeps the operator from touching anything else of a job with it. `delete` is for
ttlSecondsAfterFinished.
*/}}
{{- define "coterie.rights.ownKinds" -}}
- apiGroups: [coterie.dev]
  resources: [federatedjobs]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [coterie.dev]
  resources: [federateddatasets]
  verbs: [get, list, watch]
- apiGroups: [coterie.dev]
  resources: [federatedjobs/status, federateddatasets/status]
  verbs: [get, patch]
{{- end }}

{{- /*
In a job's namespace: the aggregator's batch Job, Service, checkpoint and configuration. Of Secrets only `create`, which the
policy `…-secrets` holds to the aggregator's certificate; nothing here lets the operator read a Secret.
*/}}
{{- define "coterie.rights.jobs" -}}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [configmaps, services, persistentvolumeclaims]
  verbs: [get, list, watch, create, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create, patch]
{{- end }}

{{- /*
In a tenant's namespace: batch Jobs, what they mount, who may talk to them, and why a pod doesn't start. No verb on Secrets at all: even `delete` and
`patch` return what a Secret holds, and `create` can mint tokens of service accounts.
*/}}
{{- define "coterie.rights.tenant" -}}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end }}

{{- /* For people. A FederatedDataset grants use of private data, so it isn't an author's to write. */}}
{{- define "coterie.rights.job-author" -}}
- apiGroups: [coterie.dev]
  resources: [federatedjobs]
  verbs: [get, list, watch, create, update, patch, delete, deletecollection]
- apiGroups: [coterie.dev]
  resources: [federatedjobs/status]
  verbs: [get]
{{- end }}

{{- define "coterie.rights.data-owner" -}}
- apiGroups: [coterie.dev]
  resources: [federateddatasets]
  verbs: [get, list, watch, create, update, patch, delete, deletecollection]
- apiGroups: [coterie.dev]
  resources: [federateddatasets/status]
  verbs: [get]
{{- end }}

{{- define "coterie.rights.auditor" -}}
- apiGroups: [coterie.dev]
  resources: [federatedjobs, federateddatasets]
  verbs: [get, list, watch]
- apiGroups: [coterie.dev]
  resources: [federatedjobs/status, federateddatasets/status]
  verbs: [get]
{{- end }}

{{- /* A binding of the operator's account. Takes context, name, role (kind), and namespace unless it holds everywhere. */}}
{{- define "coterie.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (hasKey . "namespace") }}
metadata:
  name: {{ .name | quote }}
  {{- with .namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include "coterie.labels" .context | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .role }}
  name: {{ .name | quote }}
subjects:
{{ include "coterie.subject" .context }}
{{- end }}

{{- /* The head of a role: context, name, kind, and namespace unless it is for all; rules follow. */}}
{{- define "coterie.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .role }}
metadata:
  name: {{ .name | quote }}
  {{- with .namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include "coterie.labelsOf" (dict "context" .context "selector" "coterie.selector" "more" .more) | nindent 4 }}
rules:
{{- end }}
