{{- define "coterie.name" -}}
{{- if contains "coterie" .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- else -}}{{ printf "%s-coterie" (.Release.Name | trunc 32 | trimSuffix "-") }}{{- end -}}
{{- end }}

{{- /* For what the cluster holds once: two releases of one name in two namespaces don't share it. */}}
{{- define "coterie.clusterName" -}}
{{ include "coterie.name" . }}-{{ .Release.Namespace }}
{{- end }}

{{- define "coterie.serviceAccount" -}}
{{- default (ternary (include "coterie.name" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end }}

{{- /* The name under which the API server knows the operator. */}}
{{- define "coterie.account" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "coterie.serviceAccount" . }}
{{- end }}

{{- define "coterie.subject" -}}
- kind: ServiceAccount
  name: {{ include "coterie.serviceAccount" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{- define "coterie.selector" -}}
app.kubernetes.io/name: coterie
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "coterie.testSelector" -}}
app.kubernetes.io/name: coterie
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end }}

{{- /* The chart's labels win over those of a person: selectors depend on them. Takes the context, the selector, and further labels. */}}
{{- define "coterie.labelsOf" -}}
{{- $root := .context -}}
{{- $own := include .selector $root | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "coterie" -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version) -}}
{{- toYaml (merge $own (deepCopy (default dict .more)) $root.Values.commonLabels) -}}
{{- end }}

{{- define "coterie.labels" -}}
{{- include "coterie.labelsOf" (dict "context" . "selector" "coterie.selector") -}}
{{- end }}

{{- /* An image by its digest, or else by its tag. Takes the chart's context and the values of the image. */}}
{{- define "coterie.image" -}}
{{- $version := .context.Chart.AppVersion -}}
{{- with .image -}}
{{- if .digest -}}{{ printf "%s@%s" .repository .digest }}{{- else -}}{{ printf "%s:%s" .repository (default $version .tag) }}{{- end -}}
{{- end -}}
{{- end }}

{{- /* Where jobs are, and where data is, as JSON. A release for one namespace that is told of none serves its own. */}}
{{- define "coterie.jobNamespaces" -}}
{{- if and .Values.singleNamespace (not .Values.jobNamespaces) (not .Values.tenants) -}}{{ list .Release.Namespace | toJson }}{{- else -}}{{ toJson .Values.jobNamespaces }}{{- end -}}
{{- end }}

{{- define "coterie.tenants" -}}
{{- if and .Values.singleNamespace (not .Values.jobNamespaces) (not .Values.tenants) -}}{{ list .Release.Namespace | toJson }}{{- else -}}{{ toJson .Values.tenants }}{{- end -}}
{{- end }}

{{- /* A list of names as CEL writes it. */}}
{{- define "coterie.celList" -}}
{{- toJson . | replace "\"" "'" -}}
{{- end }}

{{- /* All that a pod of this chart needs for the pod security standard `restricted`. No fixed user: the image's own is not root, and a platform may choose another. */}}
{{- define "coterie.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "coterie.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Zones and nodes should share the replicas; what a person gives without a selector means the operator's pods too. */}}
{{- define "coterie.spread" -}}
{{- $selector := include "coterie.selector" . | fromYaml -}}
{{- range .Values.topologySpreadConstraints }}
- {{ toYaml (merge (deepCopy .) (dict "labelSelector" (dict "matchLabels" $selector))) | nindent 2 | trim }}
{{- end }}
{{- end }}
