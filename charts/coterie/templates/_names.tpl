{{- define "coterie.name" -}}
{{- if contains "coterie" .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- else -}}{{ printf "%s-coterie" (.Release.Name | trunc 32 | trimSuffix "-") }}{{- end -}}
{{- end }}

{{- define "coterie.serviceAccount" -}}
{{- default (ternary (include "coterie.name" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end }}

{{- /* The name under which the API server knows the operator. */}}
{{- define "coterie.account" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "coterie.serviceAccount" . }}
{{- end }}

{{- define "coterie.selector" -}}
app.kubernetes.io/name: coterie
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "coterie.labels" -}}
{{ include "coterie.selector" . }}
app.kubernetes.io/part-of: coterie
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* An image by its digest, or else by its tag. Takes the chart's context and the values of the image. */}}
{{- define "coterie.image" -}}
{{- $version := .context.Chart.AppVersion -}}
{{- with .image -}}
{{- if .digest -}}{{ printf "%s@%s" .repository .digest }}{{- else -}}{{ printf "%s:%s" .repository (default $version .tag) }}{{- end -}}
{{- end -}}
{{- end }}

{{- define "coterie.subject" -}}
- kind: ServiceAccount
  name: {{ include "coterie.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
